// Shortcuts: "g" and a letter goes to a view, "/" to the filter, "?" tells them all.

import { tell } from "./dialog.js";
import { h } from "./dom.js";
import { go } from "./router.js";
import { VIEWS } from "./shell.js";
import { toggle } from "./theme.js";

const WITHIN = 1200;

export function showKeys() {
  const rows = [
    ...VIEWS.map(([, title, key]) => [["g", key], title]),
    [["/"], "To the filter of a view"],
    [["↑", "↓", "⏎"], "From row to row, and into one; from cell to cell of a server in the picture"],
    [["d"], "Dark or light"],
    [["?"], "These shortcuts"],
  ];
  tell("Shortcuts", h("dl", { class: "keys" }, rows.map(([keys, text]) => [
    h("dt", {}, keys.map((key, place) => [place ? " " : "", h("kbd", {}, key)])), h("dd", {}, text),
  ])));
}

export function begin() {
  let sinceG = -Infinity;
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest?.("input, select, textarea")) return;
    const view = VIEWS.find(([, , key]) => key === event.key);
    if (event.timeStamp - sinceG < WITHIN && view) {
      sinceG = -Infinity;
      go(view[0]);
    } else if (event.key === "g") sinceG = event.timeStamp;
    else if (event.key === "?") showKeys();
    else if (event.key === "d") toggle();
    else if (event.key === "/") {
      const filter = document.querySelector("main input[type=search]");
      if (!filter) return;
      filter.focus();
      filter.select();
    } else return;
    event.preventDefault();
  });
}
