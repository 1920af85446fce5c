// Settings: what each means, what it is, and where it was changed.

import { call, rows } from "./api.js";
import { fill, h, perFrame, settled } from "./dom.js";
import { fleet } from "./fleet.js";
import { number } from "./format.js";
import { keepQuery } from "./router.js";
import { mayChange } from "./session.js";
import { change } from "./setting_change.js";

const GROUPS = [
  ["Agents and servers", /^(host|indirect|agent\.lb)/],
  ["Pings and commands", /^(ping|wait|commands)/],
  ["Lost hosts", /^(alert\.wait|ha\.|investigate)/],
  ["Management servers", /^(cluster\.|management)/],
  ["The rest", /./],
];

export function settings({ query }) {
  const filter = { q: query.get("q") ?? "", changed: query.get("changed") ?? "", cluster: query.get("cluster") ?? "" };
  const body = h("div", { class: "stack" });
  const total = h("span", { class: "count", role: "status" });
  const search = h("input", { type: "search", placeholder: "Name or meaning  /", "aria-label": "Name or meaning", value: filter.q });
  const only = h("input", { type: "checkbox", checked: filter.changed !== "" });
  const scope = h("select", {}, h("option", { value: "" }, "All clusters"));
  let all = [];

  const show = perFrame(() => {
    const text = filter.q.trim().toLowerCase();
    const found = all.filter((one) => (!filter.changed || one.value !== one.defaultvalue)
      && (!text || `${one.name} ${one.description}`.toLowerCase().includes(text)));
    fill(total, `${number(found.length)} of ${number(all.length)} settings`);
    const left = new Set(found);
    fill(body, GROUPS.map(([title, pattern]) => {
      const group = [...left].filter((one) => pattern.test(one.name));
      group.forEach((one) => left.delete(one));
      return group.length > 0 && h("section", { class: "panel", "aria-label": title }, h("header", {}, h("h2", {}, title)),
        h("ul", { class: "settings" }, group.map((one) => item(one, filter.cluster, load))));
    }), !found.length && all.length > 0 && h("p", { class: "panel empty" }, "No setting fits the filter."));
  });

  async function load() {
    try {
      all = rows(await call("listConfigurations", filter.cluster ? { clusterid: filter.cluster } : {}));
      show();
    } catch (error) {
      fill(body, h("p", { class: "wrong", role: "alert" }, error.message));
    }
  }

  function kept() { keepQuery(filter); show(); }
  search.addEventListener("input", () => { filter.q = search.value; kept(); });
  only.addEventListener("change", () => { filter.changed = only.checked ? "yes" : ""; kept(); });
  scope.addEventListener("change", () => { filter.cluster = scope.value; kept(); load(); });
  call("listClusters").then((answer) => {
    scope.append(...rows(answer).map((cluster) => h("option", { value: cluster.id, selected: cluster.id === filter.cluster }, cluster.name)));
  }).catch(() => {});
  const later = settled(load, 200);
  const end = fleet.observe((change) => { if (change.settings && !change.snapshot) later(); });
  load();
  return {
    title: "Settings",
    elements: [
      h("div", { class: "head" }, h("h1", {}, "Settings"),
        h("p", {}, "They hold for all servers, and a change takes effect at once, without a restart.")),
      h("div", { class: "tools", role: "search" }, search, h("label", {}, "For", scope), h("label", { class: "check" }, only, "Changed only"), total),
      body,
    ],
    end,
  };
}

function item(one, cluster, done) {
  const differs = one.value !== one.defaultvalue;
  const inCluster = /cluster/i.test(one.scope);
  return h("li", {},
    h("div", { class: "meaning" }, h("h3", { class: "mono" }, one.name), h("p", { class: "muted" }, one.description)),
    h("div", { class: "value" },
      h("code", { class: one.value === "" ? "muted" : "" }, one.value === "" ? "empty" : one.value),
      h("span", { class: "small muted" }, differs ? `default: ${one.defaultvalue === "" ? "empty" : one.defaultvalue}` : "the default"),
      h("span", {}, cluster ? h("span", { class: "tag strong" }, "for this cluster") : inCluster && h("span", { class: "tag" }, "may differ by cluster"))),
    mayChange() && h("button", { class: "button", onclick: async () => { if (await change(one, cluster)) done(); } }, "Change",
      h("span", { class: "unseen" }, ` ${one.name}`)));
}
