// Everything that is known of servers and hosts, as the stream tells it. Views observe it, and change nothing in it.

const RECENT = 300;
const TELLS = new Set(["Up", "Connecting", "Rebalancing"]);

class Fleet {
  constructor() {
    this.observers = new Set();
    this.clear();
  }

  clear() {
    this.known = false;
    this.hosts = new Map();
    this.servers = new Map();
    this.byAddress = new Map();
    this.events = [];
    this.alerts = 0;
    this.listed = [];
    this.algorithm = "";
    this.weights = {};
    this.offset = 0;
    this.staleSince = null;
  }

  /** Be told of every change, as {snapshot, hosts: [[now, before]], gone, servers, events, settings}; end with the result. */
  observe(observer) {
    this.observers.add(observer);
    return () => this.observers.delete(observer);
  }

  tell(change) {
    for (const observer of [...this.observers]) observer(change);
  }

  /** The time of the server that tells, in seconds since the epoch. */
  now() {
    return Date.now() / 1000 + this.offset;
  }

  snapshot(data) {
    this.clear();
    this.known = true;
    this.offset = data.at - Date.now() / 1000;
    this.takeLists(data);
    this.alerts = data.alerts;
    this.events = data.events.map(readEvent);
    for (const server of data.servers) this.servers.set(server.id, server);
    this.index();
    for (const host of readColumns(data.hosts)) this.hosts.set(host.id, this.judge(host));
    this.tell({ snapshot: true, hosts: [], gone: [], servers: true, events: this.events, settings: true });
  }

  delta(data) {
    if (data.fresh) this.staleSince = null;
    if (data.at) this.offset = data.at - Date.now() / 1000;
    this.takeLists(data);
    if (data.alerts !== undefined) this.alerts = data.alerts;
    for (const server of data.servers ?? []) this.servers.set(server.id, server);
    for (const id of data.left ?? []) this.servers.delete(id);
    const servers = Boolean(data.servers || data.left);
    if (servers) this.index();
    const hosts = (data.hosts ?? []).map((row) => {
      const before = this.hosts.get(row[0]);
      const host = this.judge(readRow(row));
      this.hosts.set(host.id, host);
      return [host, before];
    });
    const gone = (data.gone ?? []).map((id) => this.hosts.get(id)).filter(Boolean);
    for (const host of gone) this.hosts.delete(host.id);
    const events = (data.events ?? []).map(readEvent);
    if (events.length) this.events = [...events, ...this.events].slice(0, RECENT);
    if (servers) for (const host of this.hosts.values()) this.judge(host);
    this.tell({ snapshot: false, hosts, gone, servers, events, settings: Boolean(data.settings) });
  }

  stale(data) {
    this.staleSince = data.at;
    this.tell({ snapshot: false, hosts: [], gone: [], servers: false, events: [], settings: false });
  }

  takeLists(data) {
    if (!data.listed) return;
    this.listed = data.listed;
    this.algorithm = data.algorithm;
    this.weights = data.weights;
  }

  index() {
    this.byAddress.clear();
    for (const server of this.servers.values()) {
      this.byAddress.set(server.name, server);
      this.byAddress.set(server.address, server);
    }
  }

  /** Note what follows from a host's fields: whether its agent is there, and on a server that it does not prefer. */
  judge(host) {
    host.up = host.status === "Up";
    host.home = host.preferred === null ? null : this.byAddress.get(host.preferred)?.id ?? null;
    host.away = host.up && host.preferred !== null && host.home !== host.server;
    return host;
  }

  server(id) {
    return this.servers.get(id) ?? null;
  }

  serverName(id) {
    if (id === null) return "–";
    return this.servers.get(id)?.name ?? `removed (${id})`;
  }

  /** In the order of their names, numbers in them as numbers. */
  sortedServers() {
    return [...this.servers.values()].sort((a, b) => compare(a.name, b.name));
  }

  /** Counts of all hosts, and of those of each server. */
  counts() {
    const total = { hosts: 0, up: 0, away: 0, preferring: 0, moving: 0, byStatus: new Map(), byServer: new Map() };
    for (const host of this.hosts.values()) {
      const here = entry(total.byServer, host.server);
      total.hosts += 1;
      here.hosts += 1;
      total.byStatus.set(host.status, (total.byStatus.get(host.status) ?? 0) + 1);
      if (host.up) { total.up += 1; here.up += 1; }
      if (host.up && host.preferred !== null) total.preferring += 1;
      if (host.away) { total.away += 1; here.away += 1; }
      if (!host.up && TELLS.has(host.status)) total.moving += 1;
    }
    return total;
  }
}

function entry(map, key) {
  if (!map.has(key)) map.set(key, { hosts: 0, up: 0, away: 0 });
  return map.get(key);
}

const NATURAL = new Intl.Collator("en", { numeric: true });
export const compare = (a, b) => NATURAL.compare(a, b);

const FIELDS = ["id", "name", "status", "state", "server", "preferred", "cluster", "ip", "version", "direct"];
const CODED = new Set(["status", "state", "server", "preferred", "cluster", "version", "direct"]);

function readRow(row) {
  return Object.fromEntries(FIELDS.map((name, index) => [name, row[index]]));
}

function readColumns(columns) {
  const read = FIELDS.map((name) => {
    if (!CODED.has(name)) return columns[name];
    const [values, indexes] = columns[name].length ? columns[name] : [[], []];
    return indexes.map((index) => values[index]);
  });
  return read[0].map((_, place) => Object.fromEntries(FIELDS.map((name, field) => [name, read[field][place]])));
}

function readEvent([number, type, level, description, created, user, host, server]) {
  return { number, type, level, description, created, user, host, server };
}

/** Whether a drain is under way. */
export function isDraining(server) {
  return Boolean(server.drain) && server.drain.ended === null && server.state !== "Down";
}

export const fleet = new Fleet();
