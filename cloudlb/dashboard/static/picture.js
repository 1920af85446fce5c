// The picture of the whole: a card for each server, in it a cell for each of its agents, and their moves.

import { h, perFrame, settled } from "./dom.js";
import { compare, fleet } from "./fleet.js";
import { glyph, hostTone, LEGEND } from "./status.js";
import { Card, describe } from "./picture_card.js";
import { colours } from "./picture_draw.js";
import { cardWidth, flows, middle, pitchFor } from "./picture_layout.js";
import { Motion } from "./picture_motion.js";
import { onTheme } from "./theme.js";

const FEW_FLOWS = 6;
const REST = 4000;

export class Picture {
  constructor(open) {
    this.open = open;
    this.cards = new Map();
    this.dirty = new Set();
    this.attended = null;
    this.motion = new Motion();
    this.motion.landed = (ids) => ids.forEach((id) => this.redraw(this.cards.get(fleet.hosts.get(id)?.server ?? null)));
    this.grid = h("div", { class: "cards" });
    this.tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.element = h("div", { class: "picture" }, this.grid, this.motion.canvas, this.tip);
    this.flush = perFrame(() => this.drawDirty());
    this.tellLater = perFrame(() => this.tell());
    this.tidy = settled(() => this.close(), REST);
    this.sizes = new ResizeObserver(() => this.layOut());
    this.sizes.observe(this.grid);
    this.ends = [fleet.observe((change) => this.take(change)), onTheme(() => this.layOut())];
    if (fleet.known) this.build();
  }

  end() {
    this.motion.stop();
    this.sizes.disconnect();
    this.ends.forEach((end) => end());
  }

  /** Make the cards from nothing. */
  build() {
    const members = new Map(fleet.sortedServers().map((server) => [server.id, []]));
    const strays = new Map();
    for (const host of fleet.hosts.values()) {
      const where = members.has(host.server) ? members : strays;
      if (!where.has(host.server)) where.set(host.server, []);
      where.get(host.server).push(host.id);
    }
    const byName = (a, b) => compare(fleet.hosts.get(a).name, fleet.hosts.get(b).name);
    this.cards = new Map([...members, ...strays].map(([server, ids]) => [server, new Card(server, ids.sort(byName), this)]));
    this.grid.replaceChildren(...[...this.cards.values()].map((card) => card.element));
    this.tell();
    this.layOut();
  }

  /** Find room for everybody, and draw. */
  layOut() {
    const width = this.grid.clientWidth;
    if (!width || !this.cards.size) return;
    this.palette = colours(this.element);
    this.pitch = pitchFor(fleet.hosts.size, width, Math.max(420, innerHeight - 260));
    this.grid.style.setProperty("--card", `${Math.floor(cardWidth(this.cards.size, width))}px`);
    for (const card of this.cards.values()) card.measure(card.cells.clientWidth, this.pitch);
    for (const card of this.cards.values()) card.draw(this.pitch, this.palette);
    this.fitMotion();
  }

  fitMotion() {
    const scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;
    this.motion.resize(this.grid.clientWidth, this.grid.clientHeight, this.palette, scale);
    this.showFlows();
  }

  /** Follow a change: who has moved flies, everything else changes where it stands. */
  take(change) {
    // Before it has found room there is nothing to draw on.
    if (change.snapshot || !this.palette || (change.servers && this.serversDiffer())) {
      this.build();
      return;
    }
    if (!change.hosts.length && !change.gone.length && !change.servers) return;
    const origin = this.grid.getBoundingClientRect();
    for (const host of change.gone) this.leave(host);
    for (const [host, before] of change.hosts) {
      if (!before || before.server !== host.server) this.move(host, before, origin);
      else this.redraw(this.cards.get(host.server));
    }
    this.tellLater();
    this.tidy();
  }

  serversDiffer() {
    const shown = [...this.cards.keys()].filter((id) => fleet.servers.has(id));
    return shown.length !== fleet.servers.size;
  }

  leave(host) {
    const card = this.cards.get(host.server);
    card?.slots.remove(host.id);
    this.redraw(card);
  }

  move(host, before, origin) {
    const [source, target] = [before && this.cards.get(before.server), this.cards.get(host.server)];
    if (!target) {
      this.build();
      return;
    }
    const from = source?.pointOf(host.id, this.pitch, origin);
    source?.slots.remove(host.id);
    target.slots.add(host.id);
    if (from) this.motion.fly(host.id, from, target.pointOf(host.id, this.pitch, origin), hostTone(host.status), this.pitch);
    this.redraw(source);
    this.redraw(target);
  }

  /** Close the gaps that those who left have left, when nothing has moved for a while. */
  close() {
    if ([...this.cards.values()].some((card) => card.slots.gone > 2)) this.build();
  }

  redraw(card) {
    if (!card) return;
    this.dirty.add(card);
    this.flush();
  }

  drawDirty() {
    if (!this.palette) return;
    for (const card of this.dirty) card.draw(this.pitch, this.palette);
    this.dirty.clear();
    if (this.motion.height !== this.grid.clientHeight) this.fitMotion();
  }

  tell() {
    const { byServer } = fleet.counts();
    for (const [server, card] of this.cards) card.tell(byServer.get(server));
    this.showFlows();
  }

  /** Show more of a server: who of its agents prefers which other one, and who prefers it. */
  attend(card) {
    if (this.attended === card) return;
    this.attended = card;
    this.showFlows();
  }

  showFlows() {
    const all = flows(fleet.hosts.values());
    const server = this.attended?.server;
    const lines = this.attended ? all.filter(([from, to]) => from === server || to === server) : all.length <= FEW_FLOWS ? all : [];
    const origin = this.grid.getBoundingClientRect();
    const strength = this.attended ? 0.95 : 0.5;
    this.motion.showFlows(lines.filter(([from, to]) => this.cards.has(from) && this.cards.has(to)).map(([from, to, count]) =>
      [this.cards.get(from).anchor(origin), this.cards.get(to).anchor(origin), count, strength]));
  }

  hover(host, event) {
    this.tip.hidden = !host;
    this.element.classList.toggle("pointing", Boolean(host));
    if (host && event) {
      const origin = this.element.getBoundingClientRect();
      this.showTip(host, event.clientX - origin.left, event.clientY - origin.top);
    }
  }

  /** The same for a cell that was chosen by keys. */
  hoverAt(host, card, place) {
    this.hover(host);
    if (!host) return;
    const [origin, box] = [this.element.getBoundingClientRect(), card.cells.getBoundingClientRect()];
    const { x, y } = middle(place, card.columns, this.pitch);
    this.showTip(host, box.left - origin.left + x, box.top - origin.top + y);
  }

  showTip(host, x, y) {
    this.tip.textContent = describe(host);
    const width = this.tip.offsetWidth;
    this.tip.style.left = `${Math.min(Math.max(0, x - width / 2), this.element.clientWidth - width)}px`;
    this.tip.style.top = `${y + 18}px`;
  }
}

export function legend() {
  return h("ul", { class: "legend", "aria-label": "Legend" },
    LEGEND.map(([tone, text]) => h("li", { class: `tone-${tone}` }, glyph(tone), text)),
    h("li", {}, h("span", { class: "ring", "aria-hidden": "true" }), "Up, on another server than it prefers"));
}
