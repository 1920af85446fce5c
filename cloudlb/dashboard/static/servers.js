// Management servers: what each is doing, how many agents it has, and how far its emptying is.

import { call, rows } from "./api.js";
import { h, link, perFrame, renew } from "./dom.js";
import { fleet, isDraining } from "./fleet.js";
import { clock, count, duration, number } from "./format.js";
import { mayChange } from "./session.js";
import { rebalance, serverActions } from "./server_actions.js";
import { serverStatus } from "./status.js";

export function servers() {
  const body = h("tbody");
  const drains = h("div", { class: "stack drains" });
  const failed = new Map();

  const show = perFrame(() => {
    const { byServer } = fleet.counts();
    const all = fleet.sortedServers();
    const most = Math.max(1, ...all.map((server) => byServer.get(server.id)?.up ?? 0));
    renew(drains, all.filter((server) => isDraining(server) || justEnded(server)).map((server) => drain(server, failed.get(server.id))));
    renew(body, all.map((server) => row(server, byServer.get(server.id), most)));
    loadFailed(all);
  });

  /** Which hosts a drain could not move, when there are some. */
  async function loadFailed(all) {
    for (const server of all) {
      const wanted = server.drain?.failed ?? 0;
      if (!wanted || !(isDraining(server) || justEnded(server)) || failed.get(server.id)?.wanted === wanted) continue;
      failed.set(server.id, { wanted, hosts: failed.get(server.id)?.hosts ?? [] });
      const [answer] = rows(await call("listManagementServers", { id: server.uuid }).catch(() => ({})));
      failed.set(server.id, { wanted, hosts: answer?.drain?.failed ?? [] });
      show();
    }
  }

  const end = fleet.observe(show);
  show();
  return {
    title: "Servers",
    elements: [
      h("div", { class: "head" }, h("h1", {}, "Servers"),
        h("div", { class: "spread" }, mayChange() && h("button", { class: "button", onclick: rebalance }, "Even out agents"))),
      drains,
      h("div", { class: "panel scroll" }, h("table", { class: "servers", role: "table" }, h("caption", { class: "unseen" }, "Management servers"),
        h("thead", {}, h("tr", {}, ["Server", "State", "Agents Up", "Away", "Address", "Version", "Started", ""].map((title, place) =>
          h("th", { scope: "col", class: place > 2 && place < 7 ? "phone-off" : "" }, title || h("span", { class: "unseen" }, "Actions"))))), body)),
    ],
    end,
  };
}

function justEnded(server) {
  return server.drain?.ended && server.state !== "Up" && server.state !== "Down" && fleet.now() - server.drain.ended < 3600;
}

function row(server, counts, most) {
  const { up = 0, away = 0 } = counts ?? {};
  const bar = h("i", { class: "done" });
  bar.style.width = `${(100 * up) / most}%`;
  return h("tr", { role: "row" },
    h("th", { scope: "row", role: "rowheader" }, link(`hosts?server=${server.id}`, server.name)),
    h("td", { role: "cell" }, serverStatus(server.state)),
    h("td", { role: "cell" }, h("div", { class: "agents" }, h("span", { class: "number" }, number(up)), h("div", { class: "meter", "aria-hidden": "true" }, bar))),
    h("td", { role: "cell", class: "phone-off number" }, away ? link(`hosts?server=${server.id}&where=away`, number(away)) : "0"),
    h("td", { role: "cell", class: "phone-off mono" }, server.address),
    h("td", { role: "cell", class: "phone-off mono" }, server.version),
    h("td", { role: "cell", class: "phone-off muted", title: clock(server.started) }, server.state === "Down" ? "–" : `${duration(fleet.now() - server.started)} ago`),
    h("td", { role: "cell" }, h("div", { class: "acts" }, serverActions(server))));
}

function drain(server, failed) {
  const { total, moved, left, failed: stuck, eta, note, started, ended, end, timeout, jobs } = server.drain;
  const [done, bad] = [h("i", { class: "done" }), h("i", { class: "bad" })];
  done.style.width = `${(100 * moved) / Math.max(1, total)}%`;
  bad.style.width = `${(100 * stuck) / Math.max(1, total)}%`;
  const state = ended ? `Ended: ${end}` : started ? "Under way" : "About to begin";
  const rest = ended || started === null ? "" : `${duration(Math.max(0, started + timeout - fleet.now()))} left of its time`;
  return h("section", { class: "panel", "aria-label": `Drain of ${server.name}` },
    h("header", {}, h("h2", {}, `Emptying ${server.name}`), serverStatus(server.state), h("span", { class: "spread muted" }, state)),
    h("div", { class: "body drain-body" },
      h("div", { class: "meter tall", role: "progressbar", "aria-label": `Agents of ${server.name} that have moved`, "aria-valuemin": 0,
        "aria-valuemax": Math.max(1, total), "aria-valuenow": moved }, done, bad),
      h("p", { class: "number" }, h("strong", {}, number(moved)), ` of ${number(total)} moved · `, h("strong", {}, number(left)), " left · ",
        h("strong", {}, number(stuck)), " failed", jobs > 0 && ` · ${count(jobs, "job")} to end`,
        !ended && eta !== null && ` · done in about ${duration(eta)}`, rest && h("span", { class: "muted" }, ` · ${rest}`)),
      note && h("p", { class: "muted" }, note),
      failed?.hosts.length > 0 && h("details", {}, h("summary", {}, "Who could not be moved"),
        h("ul", { class: "feed" }, failed.hosts.map((host) => h("li", {}, h("strong", {}, host.hostname ?? host.hostid), ` ${host.reason}`))))));
}
