// What can be done to one host.

import { call, callJob } from "./api.js";
import { confirmChange } from "./dialog.js";
import { h } from "./dom.js";
import { fleet } from "./fleet.js";
import { mayChange } from "./session.js";

const BACK = new Set(["Maintenance", "PrepareForMaintenance", "ErrorInMaintenance", "ErrorInPrepareForMaintenance"]);
const TO_MAINTENANCE = new Set(["Enabled", "Disabled", "ErrorInMaintenance", "Degraded"]);

/** The buttons for a host as it is; none for whoever may only look. */
export function hostActions(host, done) {
  if (!mayChange()) return null;
  const button = (text, work, grave = false) =>
    h("button", { class: grave ? "button grave" : "button", onclick: async () => { if (await work(fleet.hosts.get(host.id) ?? host)) done(); } }, text);
  return [
    host.up && button("Reconnect", reconnect),
    TO_MAINTENANCE.has(host.state) && button("Maintenance", maintenance),
    BACK.has(host.state) && button("End maintenance", endMaintenance),
    host.state === "Enabled" && button("Disable", disable),
    host.state === "Disabled" && button("Enable", enable),
    !host.up && button("Delete", remove, true),
  ];
}

function reconnect(host) {
  return confirmChange({
    title: `Reconnect ${host.name}`,
    does: [`${fleet.serverName(host.server)} closes the link to its agent.`, "The agent comes back by its list within seconds. Nothing that runs on the host is touched."],
    verb: "Reconnect",
    run: async () => { await callJob("reconnectHost", { id: host.id }); return `The link of ${host.name} was closed.`; },
  });
}

function maintenance(host) {
  return confirmChange({
    title: `Put ${host.name} into maintenance`,
    does: ["Its virtual machines are to leave it; it waits for them and is in maintenance then.", "Nothing new is placed on it.", "Its agent stays connected."],
    verb: "Into maintenance",
    run: async () => { await call("prepareHostForMaintenance", { id: host.id }); return `${host.name} prepares for maintenance.`; },
  });
}

function endMaintenance(host) {
  return confirmChange({
    title: `End the maintenance of ${host.name}`,
    does: ["It is Enabled again, and takes new virtual machines."],
    verb: "End maintenance",
    run: async () => { await callJob("cancelHostMaintenance", { id: host.id }); return `${host.name} is back.`; },
  });
}

function disable(host) {
  return confirmChange({
    title: `Disable ${host.name}`,
    does: ["Nothing new is placed on it. What runs on it goes on."],
    verb: "Disable",
    run: async () => { await call("updateHost", { id: host.id, allocationstate: "Disable" }); return `${host.name} is disabled.`; },
  });
}

function enable(host) {
  return confirmChange({
    title: `Enable ${host.name}`,
    does: ["It takes new virtual machines again."],
    verb: "Enable",
    run: async () => { await call("updateHost", { id: host.id, allocationstate: "Enable" }); return `${host.name} is enabled.`; },
  });
}

function remove(host) {
  return confirmChange({
    title: `Delete ${host.name}`,
    does: ["Its agent is not admitted any more.", "Its events stay. It can be restored through the API."],
    verb: "Delete", grave: true,
    run: async () => { await call("deleteHost", { id: host.id }); return `${host.name} was deleted.`; },
  });
}
