// The stream of server-sent events. The browser comes back by itself where it was; only a refusal ends it.

import { call } from "./api.js";
import { fleet } from "./fleet.js";
import { session } from "./session.js";

const AGAIN = 3000;
let source = null;
let timer = 0;
let refusal = "";
let tellState = () => {};

/** Say who is told of "live", "waiting" and "stale", and of why the server refuses if it does. */
export function onState(work) {
  tellState = work;
}

export function follow() {
  leave();
  tellState("waiting", refusal);
  source = new EventSource(`/stream?sessionkey=${encodeURIComponent(session()?.key ?? "")}`);
  listen("snapshot", (data) => fleet.snapshot(data));
  listen("delta", (data) => fleet.delta(data));
  listen("stale", (data) => fleet.stale(data));
  source.addEventListener("open", () => {
    refusal = "";
    tellState(fleet.known ? state() : "waiting");
  });
  source.addEventListener("error", () => {
    tellState("waiting", refusal);
    if (source?.readyState === EventSource.CLOSED) {
      leave();
      timer = setTimeout(again, AGAIN);
    }
  });
}

export function leave() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

function listen(name, take) {
  source.addEventListener(name, (event) => {
    take(JSON.parse(event.data));
    tellState(state());
  });
}

function state() {
  return fleet.staleSince === null ? "live" : "stale";
}

/** The stream was refused: ask the API why; it says so if the session is over. */
async function again() {
  try {
    await call("listCapabilities");
    refusal = "too many pages follow this server already";
  } catch (error) {
    if (error.code === 401) return;
    refusal = error.message;
  }
  follow();
}
