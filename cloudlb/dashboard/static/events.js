// Events: what happened, as it happens, and what happened before.

import { call, rows } from "./api.js";
import { announce } from "./announce.js";
import { fill, h, link, settled } from "./dom.js";
import { fleet } from "./fleet.js";
import { clock, full, number, parse } from "./format.js";
import { keepQuery } from "./router.js";
import { level } from "./status.js";

const PAGE = 100;

/** Events as items of a short list. */
export function eventList(events) {
  if (!events.length) return h("li", { class: "empty" }, "Nothing has happened yet.");
  return events.map((event) => h("li", { class: `told level-${event.level}` },
    h("time", { class: "small muted number", datetime: new Date(event.created * 1000).toISOString(), title: full(event.created) }, clock(event.created)),
    h("span", { class: "unseen" }, event.level === "INFO" ? "" : `${event.level}: `),
    event.host !== null && fleet.hosts.has(event.host)
      ? h("a", { href: `#/host/${event.host}` }, event.description) : h("span", {}, event.description),
    event.user && h("span", { class: "tag" }, event.user)));
}

/** An event of listEvents in the shape of those of the stream. */
export function fromApi(event) {
  return {
    type: event.type, level: event.level, description: event.description, created: parse(event.created),
    user: event.username === "system" ? null : event.username, server: event.managementservername, host: event.resourceid ?? null,
    hostName: event.resourcename,
  };
}

export function events({ query }) {
  const filter = { level: query.get("level") ?? "", type: query.get("type") ?? "", keyword: query.get("keyword") ?? "" };
  let pages = 1;
  const body = h("tbody");
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const more = h("button", { class: "button", hidden: true, onclick: () => { pages += 1; load(); } }, "Earlier ones");
  const total = h("span", { class: "count" });
  const level = choose("Level", "level", [["", "Any"], ["INFO", "Info"], ["WARN", "Warn"], ["ERROR", "Error"]]);
  const type = choose("Type", "type", [["", "Any"]]);
  const keyword = h("input", { type: "search", placeholder: "Text in events  /", "aria-label": "Text in events", value: filter.keyword });
  const changed = settled(() => { pages = 1; keepQuery(filter); load(); }, 180);
  keyword.addEventListener("input", () => { filter.keyword = keyword.value; changed(); });

  function choose(title, name, options) {
    const select = h("select", { onchange: () => { filter[name] = select.value; changed(); } },
      options.map(([value, text]) => h("option", { value, selected: value === filter[name] }, text)));
    return h("label", {}, title, select);
  }

  async function load() {
    const given = Object.fromEntries(Object.entries(filter).filter(([, value]) => value));
    try {
      const answer = await call("listEvents", { ...given, page: 1, pagesize: Math.min(500, PAGE * pages) });
      const found = rows(answer).map(fromApi);
      wrong.hidden = true;
      more.hidden = found.length >= (answer.count ?? 0) || found.length >= 500;
      fill(total, `${number(found.length)} of ${number(answer.count ?? 0)}`);
      fill(body, found.length ? found.map(row) : h("tr", {}, h("td", { class: "empty", colspan: 5 }, "No event fits the filter.")));
    } catch (error) {
      wrong.hidden = false;
      fill(wrong, error.message);
    }
  }

  const later = settled(load, 400);
  const end = fleet.observe((change) => {
    if (!change.events.length || pages > 1) return;
    later();
    if (change.events.some((event) => event.level === "ERROR")) announce(change.events.find((event) => event.level === "ERROR").description);
  });
  call("listEventTypes").then((answer) => {
    type.querySelector("select").append(...rows(answer).map(({ name }) => h("option", { value: name, selected: name === filter.type }, name)));
  }).catch(() => {});
  load();
  return {
    title: "Events",
    elements: [
      h("div", { class: "head" }, h("h1", {}, "Events")),
      h("div", { class: "tools", role: "search" }, keyword, level, type, total),
      wrong,
      h("div", { class: "panel scroll" }, h("table", { class: "flow" }, h("caption", { class: "unseen" }, "Events, the newest first"),
        h("thead", {}, h("tr", {}, ["When", "Level", "What", "Who", "Server"].map((title, place) =>
          h("th", { scope: "col", class: place > 2 ? "phone-off" : "" }, title)))), body)),
      h("p", { class: "after" }, more),
    ],
    end,
  };
}

function row(event) {
  return h("tr", {},
    h("td", { class: "muted number nowrap", title: full(event.created) }, clock(event.created)),
    h("td", {}, level(event.level)),
    h("td", { class: "wrap" }, event.host ? link(`hosts?q=${encodeURIComponent(event.hostName ?? "")}`, event.description) : event.description,
      h("div", { class: "small muted mono" }, event.type)),
    h("td", { class: "phone-off" }, event.user ?? h("span", { class: "muted" }, "nobody")),
    h("td", { class: "phone-off muted" }, event.server ?? ""));
}
