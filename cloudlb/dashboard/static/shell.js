// The frame around every view: navigation, who is logged in, and whether what is shown is of now.

import { logout } from "./api.js";
import { add, fill, h, icon, say } from "./dom.js";
import { fleet } from "./fleet.js";
import { clock } from "./format.js";
import { mayChange, session } from "./session.js";
import { toggle } from "./theme.js";

export const VIEWS = [
  ["overview", "Overview", "o"],
  ["hosts", "Hosts", "h"],
  ["servers", "Servers", "s"],
  ["settings", "Settings", "t"],
  ["investigations", "Investigations", "i"],
  ["events", "Events", "e"],
  ["alerts", "Alerts", "a"],
];

const base = new URL("./icon.svg", import.meta.url).href;
const STATES = { live: "Live", waiting: "Connecting…", stale: "Not up to date" };

export class Shell {
  constructor(root, { showKeys, leave }) {
    this.links = new Map();
    this.alerts = h("span", { class: "badge grave", hidden: true });
    this.live = [h("span", { class: "live", role: "status" }), h("span", { class: "live", role: "status", "aria-hidden": "true" })];
    this.banner = h("p", { class: "banner", role: "alert", hidden: true });
    this.content = h("div");
    this.main = h("main", { id: "main", tabindex: -1 }, this.banner, this.content);
    this.veil = h("div", { class: "veil", hidden: true, onclick: () => this.toggleMenu(false) });
    this.menu = h("button", {
      class: "button plain icon-only", "aria-label": "Menu", "aria-expanded": "false", "aria-controls": "side",
      onclick: () => this.toggleMenu(),
    }, icon("menu"));
    this.side = h("aside", { class: "side", id: "side", "aria-label": "cloudlb" },
      brand(),
      h("nav", { "aria-label": "Views" }, h("ul", {}, VIEWS.map(([name, title]) => this.link(name, title)))),
      h("div", { class: "side-end" },
        this.live[0],
        h("button", { class: "button plain", onclick: toggle }, icon("sun"), "Dark or light"),
        h("button", { class: "button plain phone-off", onclick: showKeys }, icon("keyboard"), "Shortcuts"),
        h("div", { class: "who" }, h("strong", {}, session().username),
          h("span", { class: "muted small" }, mayChange() ? "Administrator" : "May look, and change nothing")),
        h("button", { class: "button plain", onclick: async () => { await logout().catch(() => {}); leave(); } },
          icon("leave"), "Log out")));
    const bar = h("header", { class: "bar" }, this.menu, brand(), this.live[1]);
    fill(root, bar, this.veil, h("div", { class: "frame" }, this.side, this.main));
    this.setState("waiting");
    this.ends = fleet.observe(() => this.showAlerts());
    addEventListener("keydown", (event) => { if (event.key === "Escape") this.toggleMenu(false); });
  }

  link(name, title) {
    const anchor = h("a", { href: `#/${name}` }, icon(name), title, name === "alerts" && this.alerts);
    this.links.set(name, anchor);
    return h("li", {}, anchor);
  }

  toggleMenu(open = !this.side.classList.contains("open")) {
    this.side.classList.toggle("open", open);
    this.veil.hidden = !open;
    this.menu.setAttribute("aria-expanded", String(open));
    if (open) this.links.get("overview").focus();
  }

  showAlerts() {
    this.alerts.hidden = fleet.alerts === 0;
    fill(this.alerts, String(fleet.alerts), h("span", { class: "unseen" }, " standing"));
  }

  setState(state, refusal = "") {
    for (const element of this.live) {
      element.dataset.state = state;
      say(element, STATES[state]);
    }
    this.banner.hidden = state !== "stale" && !refusal;
    if (refusal) say(this.banner, `This page is not kept up to date: ${refusal}.`);
    else if (state === "stale") say(this.banner, `The database does not answer: this is how things were at ${clock(fleet.staleSince)}.`);
  }

  /** Show another view in the place of the one before; its title goes to the tab and its focus to the beginning. */
  show(name, title, elements, moveFocus) {
    this.toggleMenu(false);
    for (const [each, anchor] of this.links) {
      if (each === name) anchor.setAttribute("aria-current", "page");
      else anchor.removeAttribute("aria-current");
    }
    document.title = `${title} · cloudlb`;
    fill(this.content);
    add(this.content, [elements]);
    scrollTo(0, 0);
    if (moveFocus) this.main.focus({ preventScroll: true });
  }

  end() {
    this.ends();
  }
}

function brand() {
  return h("a", { class: "brand", href: "#/overview" }, h("img", { src: base, alt: "" }), "cloudlb");
}
