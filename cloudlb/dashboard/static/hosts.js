// All hosts in a table, filtered by what stands in the address.

import { fill, h, link, perFrame, say, settled } from "./dom.js";
import { announce } from "./announce.js";
import { compare, fleet } from "./fleet.js";
import { count, number } from "./format.js";
import { go, keepQuery } from "./router.js";
import { HOST_TONES, hostStatus, words } from "./status.js";
import { VirtualTable } from "./table.js";

const GRAVITY = ["Down", "Alert", "Error", "Disconnected", "Rebalancing", "Connecting", "Creating", "Up"];

const COLUMNS = [
  { key: "name", title: "Name", width: "min(24vw, 30rem)", cell: (host) => link(`host/${host.id}`, host.name), by: (host) => host.name },
  { key: "status", title: "Status", width: "10rem", cell: (host) => hostStatus(host.status), by: (host) => GRAVITY.indexOf(host.status) },
  { key: "server", title: "Server", cell: (host) => serverCell(host), by: (host) => fleet.serverName(host.server) },
  { key: "preferred", title: "Prefers", phone: false, by: (host) => prefers(host),
    cell: (host) => (host.away ? h("span", { class: "tag away" }, `away from ${prefers(host)}`) : h("span", { class: "muted" }, prefers(host))) },
  { key: "state", title: "Resource state", width: "11rem", phone: false, by: (host) => host.state,
    cell: (host) => (host.state === "Enabled" ? h("span", { class: "muted" }, "Enabled") : h("span", { class: "tag strong" }, words(host.state))) },
  { key: "cluster", title: "Cluster", phone: false, cell: (host) => host.cluster ?? "–", by: (host) => host.cluster ?? "" },
  { key: "ip", title: "Address", width: "9.5rem", phone: false, by: (host) => host.ip,
    cell: (host) => h("span", { class: "mono" }, host.ip || "–") },
  { key: "version", title: "Agent", width: "7.5rem", phone: false, by: (host) => host.version,
    cell: (host) => h("span", { class: "mono" }, host.version || "–") },
];

function serverCell(host) {
  const server = fleet.server(host.server);
  return h("span", {}, fleet.serverName(host.server), server?.state === "Down" && h("span", { class: "muted" }, " (Down)"));
}

function prefers(host) {
  if (host.direct) return "runs in a server";
  if (host.preferred === null) return "unknown";
  return host.home === null ? host.preferred : fleet.serverName(host.home);
}

export function hosts({ query }) {
  const filter = Object.fromEntries(["q", "status", "server", "state", "where", "cluster"].map((name) => [name, query.get(name) ?? ""]));
  let sort = query.get("sort") ?? "name";
  let descending = query.get("order") === "down";
  const table = new VirtualTable({
    columns: COLUMNS, caption: "Hosts", open: (host) => go("host", host.id),
    onSort: (key) => { descending = key === sort && !descending; sort = key; changed(); },
  });
  const total = h("span", { class: "count", role: "status" });
  const search = h("input", { type: "search", placeholder: "Name, address or cluster  /", "aria-label": "Name, address or cluster", value: filter.q });
  const selects = new Map();
  const later = settled(() => keep(), 250);
  search.addEventListener("input", () => { filter.q = search.value; show(); later(); });
  const clear = h("button", { class: "button plain", hidden: true, onclick: () => {
    for (const name of Object.keys(filter)) filter[name] = "";
    search.value = "";
    changed();
  } }, "Clear");

  function keep() {
    keepQuery({ ...filter, sort: sort === "name" ? "" : sort, order: descending ? "down" : "" });
    announce(total.textContent);
  }

  function changed() { show(); keep(); }

  function select(name, title) {
    const element = h("select", { onchange: () => { filter[name] = element.value; changed(); } });
    selects.set(name, element);
    return h("label", {}, title, element);
  }

  function offer() {
    const all = [...fleet.hosts.values()];
    const some = (name) => [...new Set(all.map((host) => host[name]).filter(Boolean))].sort(compare);
    const options = {
      status: [["", "Any"], ["not-up", "Not Up"], ...Object.keys(HOST_TONES).map((name) => [name, name])],
      server: [["", "Any"], ...fleet.sortedServers().map((server) => [String(server.id), server.name]), ["none", "None yet"]],
      where: [["", "Anywhere"], ["home", "On the preferred server"], ["away", "On another one"]],
      state: [["", "Any"], ...some("state").map((name) => [name, words(name)])],
      cluster: [["", "Any"], ...some("cluster").map((name) => [name, name])],
    };
    for (const [name, element] of selects) {
      const wanted = options[name];
      if (filter[name] && !wanted.some(([value]) => value === filter[name])) wanted.push([filter[name], filter[name]]);
      if (element.options.length !== wanted.length || [...element.options].some((option, place) => option.value !== wanted[place][0])) {
        fill(element, wanted.map(([value, text]) => h("option", { value }, text)));
      }
      element.value = filter[name];
    }
  }

  const show = perFrame(() => {
    offer();
    const found = [...fleet.hosts.values()].filter((host) => fits(host, filter));
    order(found, sort, descending);
    table.showSort(sort, descending);
    table.set(found);
    const narrowed = Object.values(filter).some(Boolean);
    clear.hidden = !narrowed;
    say(total, narrowed ? `${number(found.length)} of ${count(fleet.hosts.size, "host")}` : count(found.length, "host"));
  });
  const end = fleet.observe((change) => {
    if (change.servers) table.renew();
    show();
  });
  const tools = h("div", { class: "tools", role: "search" }, search, select("status", "Status"), select("server", "Server"),
    select("where", "Where"), select("state", "State"), select("cluster", "Cluster"), clear, total);
  show();
  return {
    title: "Hosts",
    elements: [h("div", { class: "head" }, h("h1", {}, "Hosts")), tools, table.element],
    end: () => { end(); table.end(); },
  };
}

function fits(host, filter) {
  const { q, status, server, state, where, cluster } = filter;
  if (status && (status === "not-up" ? host.up : host.status !== status)) return false;
  if (server && String(host.server ?? "none") !== server) return false;
  if (state && host.state !== state) return false;
  if (cluster && host.cluster !== cluster) return false;
  if (where === "away" && !host.away) return false;
  if (where === "home" && !(host.up && host.preferred !== null && !host.away)) return false;
  if (!q) return true;
  const text = q.trim().toLowerCase();
  return [host.name, host.ip, host.cluster].some((field) => field?.toLowerCase().includes(text));
}

function order(found, sort, descending) {
  const by = (COLUMNS.find((column) => column.key === sort) ?? COLUMNS[0]).by;
  const keyed = found.map((host) => [by(host), host]);
  keyed.sort(([a, one], [b, other]) => (typeof a === "number" ? a - b : compare(a, b)) || compare(one.name, other.name));
  if (descending) keyed.reverse();
  keyed.forEach(([, host], place) => { found[place] = host; });
}
