// Alerts: what somebody must look at, until it is archived.

import { call, rows } from "./api.js";
import { confirmChange } from "./dialog.js";
import { fill, h, link, settled } from "./dom.js";
import { fleet } from "./fleet.js";
import { clock, count, full, parse } from "./format.js";
import { mayChange } from "./session.js";
import { glyph } from "./status.js";

export function alerts() {
  const body = h("div", { class: "panel" });
  const all = h("div", { class: "spread" });
  let seen = fleet.alerts;

  async function load() {
    try {
      const found = rows(await call("listAlerts", { page: 1, pagesize: 500 }));
      fill(all, mayChange() && found.length > 1 && h("button", { class: "button", onclick: () => archive(found) }, "Archive all"));
      fill(body, found.length ? h("ul", { class: "alerts" }, found.map(item)) : h("p", { class: "empty" }, "No alert stands."));
    } catch (error) {
      fill(body, h("p", { class: "wrong", role: "alert" }, error.message));
    }
  }

  async function archive(some) {
    const done = await confirmChange({
      title: some.length === 1 ? "Archive this alert" : `Archive ${count(some.length, "alert")}`,
      does: ["It does not stand any more; archived ones are kept as the setting alert.purge.delay says.", "If it happens again there is a new one."],
      verb: "Archive",
      run: async () => { await call("archiveAlerts", { ids: some.map((alert) => alert.id).join(",") }); return "Archived."; },
    });
    if (done) load();
  }

  function item(alert) {
    const sent = parse(alert.sent);
    return h("li", { class: "tone-alert" }, glyph("alert"),
      h("div", {}, h("p", {}, alert.description),
        h("p", { class: "small muted" }, h("span", { class: "mono" }, alert.name), " · ",
          h("time", { datetime: new Date(sent * 1000).toISOString(), title: full(sent) }, clock(sent)),
          alert.occurrences > 1 && ` · ${count(alert.occurrences, "time")}`,
          alert.hostname && [" · ", link(`hosts?q=${encodeURIComponent(alert.hostname)}`, alert.hostname)])),
      mayChange() && h("button", { class: "button", onclick: () => archive([alert]) }, "Archive",
        h("span", { class: "unseen" }, `: ${alert.description}`)));
  }

  const later = settled(load, 300);
  const end = fleet.observe(() => {
    if (fleet.alerts !== seen) { seen = fleet.alerts; later(); }
  });
  load();
  return { title: "Alerts", elements: [h("div", { class: "head" }, h("h1", {}, "Alerts"), all), body], end };
}
