// What the states of hosts and servers look like: a tone (colour), and a shape that tells it without the colour.

import { h, svg } from "./dom.js";

export const HOST_TONES = {
  Up: "up",
  Connecting: "moving",
  Rebalancing: "moving",
  Disconnected: "lost",
  Alert: "alert",
  Error: "alert",
  Down: "down",
  Creating: "idle",
};

const SERVER_TONES = {
  Up: "up",
  Down: "down",
  PreparingForMaintenance: "moving",
  PreparingForShutDown: "moving",
  Maintenance: "lost",
  ReadyToShutDown: "lost",
  ShuttingDown: "lost",
};

const LEVEL_TONES = { INFO: "idle", WARN: "lost", ERROR: "alert" };
const VERDICT_TONES = { Up: "up", Down: "down", Unknown: "lost" };

/** Shapes in a box of 12 by 12, by tone. */
export const SHAPES = {
  up: "M6 1a5 5 0 1 0 0 10A5 5 0 0 0 6 1z",
  moving: "M6 0.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11z M6 3a3 3 0 1 1 0 6a3 3 0 0 1 0-6z",
  lost: "M6 1l5.5 10H.5z",
  alert: "M6 0l6 6-6 6-6-6z",
  down: "M2.8 .8L6 4 9.2 .8l2 2L8 6l3.2 3.2-2 2L6 8l-3.2 3.2-2-2L4 6 .8 2.8z",
  idle: "M1.5 4.6h9v2.8h-9z",
};

export function glyph(tone) {
  return svg("svg", { class: "glyph", viewBox: "0 0 12 12", "aria-hidden": "true" },
    svg("path", { d: SHAPES[tone], "fill-rule": "evenodd" }));
}

function told(tone, text) {
  return h("span", { class: `status tone-${tone}` }, glyph(tone), h("span", {}, text));
}

export const hostTone = (status) => HOST_TONES[status] ?? "idle";
export const hostStatus = (status) => told(hostTone(status), status);
export const serverStatus = (state) => told(SERVER_TONES[state] ?? "idle", words(state));
export const level = (name) => told(LEVEL_TONES[name] ?? "idle", name.toLowerCase());
export const verdict = (name) => told(VERDICT_TONES[name] ?? "idle", name);

/** "PreparingForMaintenance" as "Preparing for maintenance". */
export function words(name) {
  const spaced = name.replace("ShutDown", "Shutdown").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** The legend of the picture: every tone with what it stands for. */
export const LEGEND = [
  ["up", "Up"],
  ["moving", "Connecting, rebalancing"],
  ["lost", "Disconnected"],
  ["alert", "Alert"],
  ["down", "Down"],
  ["idle", "Never connected"],
];
