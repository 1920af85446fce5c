// The picture of the whole, its key figures, and what has just happened.

import { h, link, perFrame, renew, say } from "./dom.js";
import { announce } from "./announce.js";
import { eventList } from "./events.js";
import { fleet, isDraining } from "./fleet.js";
import { count, number, percent } from "./format.js";
import { legend, Picture } from "./picture.js";
import { go } from "./router.js";

const RECENT = 14;

export function overview() {
  const picture = new Picture((id) => go("host", id));
  const figures = new Figures();
  const recent = h("ol", { class: "feed" });
  const showRecent = perFrame(() => renew(recent, eventList(fleet.events.slice(0, RECENT))));
  const end = fleet.observe((change) => {
    figures.show();
    if (change.events.length || change.snapshot) showRecent();
    tellMoves(change);
  });
  if (fleet.known) showRecent();
  figures.show();
  return {
    title: "Overview",
    elements: [
      h("div", { class: "head" }, h("h1", {}, "Overview"), figures.lists),
      figures.element,
      h("div", { class: "beside" },
        h("section", { "aria-label": "Servers and their agents" }, picture.element, legend()),
        h("section", { class: "panel happening", "aria-label": "What has just happened" },
          h("header", {}, h("h2", {}, "Just now"), h("div", { class: "spread" }, link("events", "All events"))), recent)),
    ],
    end: () => { end(); picture.end(); },
  };
}

/** What a screen reader hears of a change. */
function tellMoves({ hosts, snapshot }) {
  if (snapshot) return;
  const moved = hosts.filter(([host, before]) => before && host.server !== before.server);
  const lost = hosts.filter(([host, before]) => before?.up && !host.up);
  if (moved.length === 1) announce(`${moved[0][0].name} is on ${fleet.serverName(moved[0][0].server)} now`);
  else if (moved.length) announce(`${count(moved.length, "agent")} changed servers`);
  else if (lost.length) announce(lost.length === 1 ? `${lost[0][0].name} is ${lost[0][0].status}` : `${count(lost.length, "agent")} not Up any more`);
}

class Figures {
  constructor() {
    this.lists = h("p");
    this.parts = new Map();
    this.element = h("ul", { class: "key", "aria-label": "Key figures" },
      this.part("up", "Agents Up", "hosts?status=Up"),
      this.part("down", "Not Up", "hosts?status=not-up"),
      this.part("home", "On preferred", "hosts?where=home"),
      this.part("away", "On another one", "hosts?where=away"),
      this.part("drains", "Drains under way", "servers"),
      this.part("alerts", "Standing alerts", "alerts"));
    this.show = perFrame(() => this.showNow());
  }

  part(name, title, route) {
    const [value, note] = [h("strong", { class: "number" }, "–"), h("span", { class: "small muted number" })];
    const element = h("li", {}, link(route, h("span", {}, title), value, note));
    this.parts.set(name, { element, value, note });
    return element;
  }

  set(name, value, note = "", mark = "") {
    const part = this.parts.get(name);
    say(part.value, value);
    say(part.note, note);
    part.element.dataset.mark = mark;
  }

  showNow() {
    if (!fleet.known) return;
    const all = fleet.counts();
    const missing = all.hosts - all.up;
    const draining = [...fleet.servers.values()].filter(isDraining);
    const left = draining.reduce((sum, server) => sum + server.drain.left, 0);
    const servers = [...fleet.servers.values()];
    this.set("up", number(all.up), `of ${number(all.hosts)}`);
    const shares = ["Down", "Alert", "Disconnected", "Error"].filter((status) => all.byStatus.has(status));
    this.set("down", number(missing), shares.map((status) => `${number(all.byStatus.get(status))} ${status}`).join(", "),
      shares.length ? "bad" : "");
    const known = all.preferring > 0;
    this.set("home", known ? percent(all.preferring - all.away, all.preferring) : "–", known ? "" : `unknown under ${fleet.algorithm}`);
    this.set("away", number(all.away), "", all.away ? "note" : "");
    this.set("drains", number(draining.length), draining.length ? `${count(left, "agent")} left` : "", draining.length ? "busy" : "");
    this.set("alerts", number(fleet.alerts), "", fleet.alerts ? "bad" : "");
    const up = servers.filter((server) => server.state === "Up").length;
    say(this.lists, `${count(up, "server")} of ${number(servers.length)} Up. Agents' lists are ordered by ${fleet.algorithm}.`);
  }
}
