// One host's story: where its agent is and should be, what was found out about it, and what has happened to it.

import { call, rows } from "./api.js";
import { h, icon, link, perFrame, renew, settled } from "./dom.js";
import { eventList, fromApi } from "./events.js";
import { fleet } from "./fleet.js";
import { clock, duration, full, parse } from "./format.js";
import { hostActions } from "./host_actions.js";
import { findings } from "./investigations.js";
import { hostStatus, serverStatus, words } from "./status.js";

const AGAIN = 15000;
const FIRST = 6;

export function host({ argument }) {
  const id = Number(argument);
  const known = () => fleet.hosts.get(id);
  const parts = {
    head: h("div", { class: "head" }), facts: h("dl", { class: "facts" }), list: h("ol", { class: "way" }),
    verdict: h("div", { class: "body" }, h("p", { class: "muted" }, "…")), events: h("ol", { class: "feed" }),
  };
  let row = null;

  const show = perFrame(() => {
    const host = known();
    if (!host) {
      if (fleet.known) renew(parts.head, h("h1", {}, "Host"), h("p", {}, "There is no such host, or it was deleted."));
      return;
    }
    document.title = `${host.name} · cloudlb`;
    renew(parts.head, h("h1", {}, host.name), hostStatus(host.status), host.state !== "Enabled" && h("span", { class: "tag strong" }, words(host.state)),
      host.away && h("span", { class: "tag away" }, "on another server than it prefers"),
      h("div", { class: "spread" }, hostActions(host, reload)));
    renew(parts.facts, facts(host, row));
    renew(parts.list, way(host, row));
  });

  async function reload() {
    const [hosts, verdicts, told] = await Promise.all([
      ask("listHosts", { id, placement: true }), ask("listInvestigations", { hostid: id, page: 1, pagesize: 5 }),
      ask("listEvents", { resourcetype: "Host", resourceid: id, page: 1, pagesize: 60 }),
    ]);
    row = hosts[0] ?? null;
    renew(parts.verdict, verdicts.length ? verdicts.map((each, place) => findings(each, place === 0))
      : h("p", { class: "muted" }, "Nobody has had to look into this host."));
    renew(parts.events, eventList(told.map((event) => ({ ...fromApi(event), host: null }))));
    show();
  }

  const later = settled(reload, 500);
  const end = fleet.observe((change) => {
    show();
    if (change.hosts.some(([each]) => each.id === id) || change.events.some((event) => event.host === id)) later();
  });
  const timer = setInterval(() => { if (!document.hidden) reload(); }, AGAIN);
  show();
  reload();
  return {
    title: known()?.name ?? "Host",
    elements: [
      h("p", { class: "back" }, link("hosts", "← Hosts")),
      parts.head,
      h("div", { class: "story" },
        h("div", { class: "stack" },
          h("section", { class: "panel", "aria-labelledby": "way" }, h("header", {}, h("h2", { id: "way" }, "Its list of servers")),
            h("div", { class: "body" }, parts.list)),
          h("section", { class: "panel", "aria-labelledby": "looked" }, h("header", {}, h("h2", { id: "looked" }, "Investigations")), parts.verdict),
          h("section", { class: "panel", "aria-labelledby": "told" }, h("header", {}, h("h2", { id: "told" }, "Events")), parts.events)),
        h("section", { class: "panel", "aria-labelledby": "facts" }, h("header", {}, h("h2", { id: "facts" }, "Facts")),
          h("div", { class: "body" }, parts.facts))),
    ],
    end: () => { end(); clearInterval(timer); },
  };
}

async function ask(command, parameters) {
  try {
    return rows(await call(command, parameters));
  } catch {
    return [];
  }
}

function facts(host, row) {
  const heard = parse(row?.lastpinged);
  const lost = parse(row?.disconnected);
  const entries = [
    ["Connected to", host.up ? fleet.serverName(host.server) : "nobody"],
    !host.up && ["Was last on", fleet.serverName(host.server)],
    lost !== null && ["Lost since", `${clock(lost)} (${duration(fleet.now() - lost)})`],
    ["Last heard", heard === null ? "never" : h("span", { title: full(heard) }, `${duration(fleet.now() - heard)} ago`)],
    ["Prefers", host.direct ? "runs inside a server" : host.preferred === null ? "unknown" : host.home === null ? host.preferred : fleet.serverName(host.home)],
    ["Resource state", words(host.state)],
    ["Address", h("span", { class: "mono" }, host.ip || "–")],
    ["Agent", h("span", { class: "mono" }, host.version || "–")],
    row?.hypervisor && ["Hypervisor", [row.hypervisor, row.hypervisorversion].filter(Boolean).join(" ")],
    row?.cpunumber && ["Processors", `${row.cpunumber} × ${row.cpuspeed} MHz, ${row.arch ?? ""}`],
    row?.memorytotal && ["Memory", `${(row.memorytotal / 2 ** 30).toFixed(1)} GiB`],
    ["Stands in", [row?.zonename, row?.podname, host.cluster].filter(Boolean).join(" / ") || "–"],
    row?.hosttags && ["Tags", row.hosttags],
    row?.created && ["Added", full(parse(row.created))],
    row?.id && ["Id", h("span", { class: "mono wrap" }, row.id)],
  ];
  return entries.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}

/** The servers of a host's list, in the order in which its agent tries them. */
function way(host, row) {
  if (host.direct) return h("li", { class: "muted" }, "It has no agent: its resource runs inside of a server.");
  const list = row?.serverlist?.split(",") ?? [];
  if (!list.length) return h("li", { class: "muted" }, fleet.algorithm === "shuffle" ? "Under shuffle only its agent knows the order." : "…");
  const steps = list.map((address, place) => {
    const server = fleet.byAddress.get(address);
    const here = server && server.id === host.server;
    return h("li", { class: here && host.up ? "here" : "" }, place > 0 && icon("arrow"),
      h("div", {}, h("strong", {}, server?.name ?? address),
        server ? serverStatus(server.state) : h("span", { class: "muted" }, "no server of this address"),
        place === 0 && h("span", { class: "tag strong" }, "preferred"),
        here && host.up && h("span", { class: "tag strong" }, "connected")));
  });
  if (steps.length <= FIRST) return steps;
  const rest = steps.slice(FIRST);
  return [steps.slice(0, FIRST), h("li", { class: "rest" }, h("details", {}, h("summary", {}, `and ${rest.length} more`), h("ol", { class: "way" }, rest)))];
}
