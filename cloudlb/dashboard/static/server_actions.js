// What can be done to one management server, and to all of them.

import { call } from "./api.js";
import { checkbox, choice, confirmChange } from "./dialog.js";
import { h } from "./dom.js";
import { fleet } from "./fleet.js";
import { count } from "./format.js";
import { mayChange } from "./session.js";

/** The buttons for a server as it is. */
export function serverActions(server) {
  if (!mayChange()) return null;
  const acts = {
    Up: [["Maintenance", drain], ["Prepare shutdown", prepareShutdown]],
    PreparingForMaintenance: [["Back to Up", cancelMaintenance]],
    Maintenance: [["Back to Up", cancelMaintenance], ["Shut down", shutDown, true]],
    PreparingForShutDown: [["Back to Up", cancelShutdown]],
    ReadyToShutDown: [["Shut down", shutDown, true], ["Back to Up", cancelShutdown]],
    Down: [["Remove", remove, true]],
  }[server.state] ?? [];
  return acts.map(([text, work, grave]) => h("button", {
    class: grave ? "button grave" : "button", "data-server": server.id, onclick: () => work(fleet.server(server.id) ?? server),
  }, text, h("span", { class: "unseen" }, ` ${server.name}`)));
}

function agentsOf(server) {
  return [...fleet.hosts.values()].filter((host) => host.up && host.server === server.id).length;
}

function others(server) {
  return [...fleet.servers.values()].filter((other) => other.id !== server.id && other.state === "Up");
}

function empty(server, { title, verb, command, then }) {
  const [algorithm, algorithmField] = choice("algorithm", "Its agents choose their new servers by",
    [["", `the algorithm in force (${fleet.algorithm})`], ...["static", "roundrobin", "shuffle", "rendezvous"].map((name) => [name, name])]);
  const [forced, forcedField] = checkbox("forced", "Disconnect agents that are left when its time is over");
  const targets = others(server);
  const does = targets.length
    ? [`${count(agentsOf(server), "agent")} will be moved to ${targets.length === 1 ? targets[0].name : `the ${targets.length} other servers that are Up`}.`,
      "Commands under way end first; nothing that runs on a host is touched.", then]
    : ["No other server is Up: its agents stay where they are.", then];
  return confirmChange({
    title, does, verb, fields: [algorithmField, forcedField],
    run: async () => {
      await call(command, { managementserverid: server.uuid, algorithm: algorithm.value || undefined, forced: forced.checked || undefined });
      return `${server.name} is being emptied.`;
    },
  });
}

function drain(server) {
  return empty(server, {
    title: `Put ${server.name} into maintenance`, verb: "Empty it", command: "prepareForMaintenance",
    then: "It takes no agents and changes until it is taken back.",
  });
}

function prepareShutdown(server) {
  return empty(server, {
    title: `Prepare ${server.name} for shutdown`, verb: "Empty it", command: "prepareForShutdown",
    then: "When nothing is left on it, it is ready to be shut down.",
  });
}

function cancelMaintenance(server) {
  const [rebalanced, field] = checkbox("rebalance", "Move agents back to it now");
  rebalanced.checked = true;
  return confirmChange({
    title: `Take ${server.name} back`,
    does: ["It takes agents and changes again."],
    verb: "Take it back", fields: [field],
    run: async () => {
      await call("cancelMaintenance", { managementserverid: server.uuid, rebalance: rebalanced.checked });
      return `${server.name} takes agents again.`;
    },
  });
}

function cancelShutdown(server) {
  return confirmChange({
    title: `Cancel the shutdown of ${server.name}`,
    does: ["It takes agents and changes again. Agents that left come back as the servers are evened out."],
    verb: "Cancel shutdown",
    run: async () => { await call("cancelShutdown", { managementserverid: server.uuid }); return `${server.name} goes on.`; },
  });
}

function shutDown(server) {
  return confirmChange({
    title: `Shut ${server.name} down`,
    does: [`${count(agentsOf(server), "agent")} will be moved away first.`, "Its process ends. Somebody must start it again on its machine."],
    verb: "Shut down", grave: true,
    run: async () => { await call("triggerShutdown", { managementserverid: server.uuid }); return `${server.name} shuts down.`; },
  });
}

function remove(server) {
  return confirmChange({
    title: `Remove ${server.name}`,
    does: ["It is forgotten. If it is started again it joins as a new server."],
    verb: "Remove", grave: true,
    run: async () => { await call("removeManagementServer", { id: server.uuid }); return `${server.name} was removed.`; },
  });
}

/** Even out how many agents each server has, after a look at who would move. */
export async function rebalance() {
  const plan = (await call("plan").catch(() => ({}))).plan ?? {};
  const does = plan.count
    ? [`${count(plan.count, "agent")} will be moved:`, ...plan.server.filter((server) => server.before !== server.after)
      .map((server) => `${server.name ?? server.address}: from ${server.before ?? 0} to ${server.after ?? 0}`)]
    : ["As things are, nobody would be moved."];
  return confirmChange({
    title: "Even out agents", does, verb: "Even out",
    run: async () => { await call("rebalanceAgents"); return "The servers are evened out."; },
  });
}
