// Why hosts were looked into, and what each investigator said.

import { call, rows } from "./api.js";
import { fill, h, link, settled } from "./dom.js";
import { fleet } from "./fleet.js";
import { clock, full, number, parse } from "./format.js";
import { verdict } from "./status.js";

const PAGE = 50;

export function investigations() {
  const list = h("div", { class: "stack" });
  const total = h("span", { class: "count" });
  const more = h("button", { class: "button", hidden: true, onclick: () => { pages += 1; load(); } }, "Earlier ones");
  let pages = 1;

  async function load() {
    const size = Math.min(500, PAGE * pages);
    try {
      const answer = await call("listInvestigations", { page: 1, pagesize: size });
      const found = rows(answer);
      more.hidden = found.length >= (answer.count ?? 0) || size >= 500;
      fill(total, `${number(found.length)} of ${number(answer.count ?? 0)}`);
      fill(list, found.length ? found.map((each) => h("section", { class: "panel" }, findings(each, false, true)))
        : h("p", { class: "panel empty" }, "No host has been lost, so nothing had to be looked into."));
    } catch (error) {
      fill(list, h("p", { class: "wrong", role: "alert" }, error.message));
    }
  }

  const later = settled(load, 600);
  const end = fleet.observe((change) => {
    if (change.events.some((event) => event.type === "HOST.INVESTIGATION")) later();
  });
  load();
  return {
    title: "Investigations",
    elements: [
      h("div", { class: "head" }, h("h1", {}, "Investigations"),
        h("p", {}, "When an agent is silent or gone, investigators are asked in turn whether its host lives.")),
      h("div", { class: "tools" }, total), list, h("p", { class: "after" }, more),
    ],
    end,
  };
}

/** One investigation: its verdict, and behind it the answer of each investigator. */
export function findings(one, open = false, named = false) {
  const started = parse(one.started);
  return h("details", { class: "case", open },
    h("summary", {}, h("span", { class: "case-line" },
      verdict(one.verdict),
      named && h("strong", {}, one.hostname ?? "a deleted host"),
      h("span", { class: "muted" }, one.cause === "PingTimeout" ? "its pings were late" : "its link ended"),
      h("time", { class: "muted number small", title: full(started), datetime: new Date(started * 1000).toISOString() }, clock(started)))),
    h("div", { class: "case-body" },
      h("p", {}, one.reason ? `${one.investigator}: ${one.reason}` : "No investigator knew.",
        h("span", { class: "muted" }, ` Asked by ${one.managementservername ?? "a removed server"}, ${number(one.duration)} ms.`),
        named && one.hostname && [" ", link(`hosts?q=${encodeURIComponent(one.hostname)}`, "To the host")]),
      h("div", { class: "scroll" }, h("table", { class: "flow" }, h("caption", { class: "unseen" }, "Answers of the investigators"),
        h("thead", {}, h("tr", {}, ["Investigator", "Says", "Because", "Took"].map((title) => h("th", { scope: "col" }, title)))),
        h("tbody", {}, (one.findings ?? []).map((each) => h("tr", {}, h("td", {}, each.investigator), h("td", {}, verdict(each.verdict)),
          h("td", {}, each.reason), h("td", { class: "number nowrap" }, `${number(each.duration)} ms`))))))));
}
