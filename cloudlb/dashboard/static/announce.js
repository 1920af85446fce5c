// What a screen reader is told, and messages that go by themselves.

import { h, say } from "./dom.js";

const SHOWN = 6000;
const PAUSE = 2500;

let last = 0;
let timer = 0;
let next = "";

/** Tell a screen reader, at most once in a while: of a storm of changes the last one. */
export function announce(text) {
  next = text;
  if (timer) return;
  timer = setTimeout(() => {
    timer = 0;
    last = Date.now();
    say(document.getElementById("announcer"), next);
  }, Math.max(80, last + PAUSE - Date.now()));
}

export function toast(text, bad = false) {
  const message = h("p", { class: bad ? "toast bad" : "toast", role: bad ? "alert" : "status" }, text);
  document.getElementById("toasts").append(message);
  setTimeout(() => message.remove(), SHOWN);
}
