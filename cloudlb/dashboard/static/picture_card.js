// One server in the picture: its name and state, and a cell for each of its agents.

import { fill, h, link, renew, say } from "./dom.js";
import { fleet, isDraining } from "./fleet.js";
import { count, duration, number } from "./format.js";
import { drawAgent, drawChoice, sized } from "./picture_draw.js";
import { middle, Slots } from "./picture_layout.js";
import { hostTone, serverStatus } from "./status.js";

let cards = 0;

export class Card {
  /** server: its id; null for hosts that never were on one. */
  constructor(server, ids, picture) {
    cards += 1;
    this.server = server;
    this.slots = new Slots(ids);
    this.picture = picture;
    this.chosen = -1;
    this.columns = 1;
    this.name = h("h2");
    this.state = h("span");
    this.figures = h("p", { class: "figures number" });
    this.drain = h("div", { class: "drain", hidden: true });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.option = h("div", { role: "option", class: "unseen", id: `cell-${cards}`, "aria-selected": "false" }, "No agent is chosen");
    this.cells = h("div", { class: "cells", tabindex: 0, role: "listbox", onkeydown: (event) => this.onKey(event),
      onfocus: () => picture.attend(this), onblur: () => this.choose(-1) }, this.canvas, this.option);
    this.element = h("section", { class: "card", onpointerenter: () => picture.attend(this), onpointerleave: () => picture.attend(null) },
      h("header", {}, this.name, this.state), this.figures, this.drain, this.cells);
    this.cells.addEventListener("pointermove", (event) => this.onPoint(event));
    this.cells.addEventListener("pointerleave", () => picture.hover(null));
    this.cells.addEventListener("click", (event) => this.onClick(event));
  }

  /** Tell the words of the card. */
  tell(counts) {
    const server = this.server === null ? null : fleet.server(this.server);
    const { hosts = 0, up = 0, away = 0 } = counts ?? {};
    const name = this.server === null ? "On no server yet" : fleet.serverName(this.server);
    renew(this.name, link(`hosts?server=${this.server ?? "none"}`, name));
    const state = server?.state ?? (this.server === null ? "" : "removed");
    if (this.shownState !== state) {
      fill(this.state, server ? serverStatus(server.state) : "");
      this.element.dataset.state = state;
      this.shownState = state;
    }
    const rest = [hosts > up && `${number(hosts - up)} not Up`, away && `${number(away)} away`].filter(Boolean);
    const words = [`${number(up)} Up`, ...rest].join(" · ");
    say(this.figures, words);
    this.cells.setAttribute("aria-label", `${name}, ${state}: ${count(hosts, "agent")}, ${words}. Arrow keys go from agent to agent.`);
    this.tellDrain(server);
  }

  tellDrain(server) {
    this.drain.hidden = !server || !isDraining(server);
    if (this.drain.hidden) return;
    const { moved, left, failed, total, eta } = server.drain;
    if (!this.meter) {
      this.meter = [h("i", { class: "done" }), h("i", { class: "bad" })];
      this.drainText = h("p", { class: "small muted number" });
      fill(this.drain, h("div", { class: "meter", "aria-hidden": "true" }, this.meter), this.drainText);
    }
    this.meter[0].style.width = `${(100 * moved) / Math.max(1, total)}%`;
    this.meter[1].style.width = `${(100 * failed) / Math.max(1, total)}%`;
    say(this.drainText, `${number(left)} left${eta === null ? "" : `, about ${duration(eta)}`}`);
  }

  /** Make room; returns the height that the cells need. */
  measure(width, pitch) {
    this.columns = Math.max(1, Math.floor(width / pitch));
    this.width = width;
    return Math.max(1, Math.ceil(this.slots.size / this.columns)) * pitch;
  }

  draw(pitch, palette) {
    const height = this.measure(this.width, pitch);
    const context = sized(this.canvas, this.width, height);
    this.slots.ids.forEach((id, place) => {
      const host = id === null ? null : fleet.hosts.get(id);
      if (!host || this.picture.motion.isFlying(id)) return;
      const { x, y } = middle(place, this.columns, pitch);
      drawAgent(context, x, y, pitch, hostTone(host.status), host.away, palette);
    });
    if (this.chosen >= 0) {
      const { x, y } = middle(this.chosen, this.columns, pitch);
      drawChoice(context, x, y, pitch, palette);
    }
  }

  /** The middle of a host's cell, in the page. */
  pointOf(id, pitch, origin) {
    const box = this.cells.getBoundingClientRect();
    const { x, y } = middle(this.slots.places.get(id) ?? 0, this.columns, pitch);
    return { x: box.left - origin.left + x, y: box.top - origin.top + y };
  }

  /** Where lines to and from it end. */
  anchor(origin) {
    const box = this.element.getBoundingClientRect();
    return { x: box.left - origin.left + box.width / 2, y: box.top - origin.top + box.height * 0.4 };
  }

  /** The place at a point of the page; -1 where no agent is. */
  placeAt(event) {
    const box = this.cells.getBoundingClientRect();
    const [column, row] = [event.clientX - box.left, event.clientY - box.top].map((at) => Math.floor(at / this.picture.pitch));
    const place = row * this.columns + column;
    return column >= 0 && column < this.columns && (this.slots.ids[place] ?? null) !== null ? place : -1;
  }

  onPoint(event) {
    const place = this.placeAt(event);
    this.picture.hover(place < 0 ? null : fleet.hosts.get(this.slots.ids[place]), event);
  }

  onClick(event) {
    const place = this.placeAt(event);
    if (place >= 0) this.picture.open(this.slots.ids[place]);
  }

  onKey(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns };
    if (event.key === "Enter" && this.chosen >= 0) this.picture.open(this.slots.ids[this.chosen]);
    else if (event.key === "Home") this.choose(this.next(-1, 1));
    else if (event.key === "End") this.choose(this.next(this.slots.size, -1));
    else if (event.key in steps) this.choose(this.next(this.chosen, steps[event.key]));
    else return;
    event.preventDefault();
  }

  next(from, step) {
    let place = from < 0 && step < 0 ? this.slots.size : from;
    do place += place < 0 ? 1 : step; while (this.slots.ids[place] === null);
    return place >= 0 && place < this.slots.size ? place : this.chosen;
  }

  choose(place) {
    if (place === this.chosen) return;
    this.chosen = place;
    const host = place < 0 ? null : fleet.hosts.get(this.slots.ids[place]);
    if (host) {
      say(this.option, describe(host));
      this.option.setAttribute("aria-selected", "true");
      this.option.setAttribute("aria-posinset", place + 1);
      this.option.setAttribute("aria-setsize", this.slots.size);
      this.cells.setAttribute("aria-activedescendant", this.option.id);
    } else this.cells.removeAttribute("aria-activedescendant");
    this.picture.hoverAt(host, this, place);
    this.picture.redraw(this);
  }
}

export function describe(host) {
  const prefers = host.away ? `, prefers ${host.home === null ? host.preferred : fleet.serverName(host.home)}` : "";
  return `${host.name}: ${host.status} on ${fleet.serverName(host.server)}${prefers}`;
}
