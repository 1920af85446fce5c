// How numbers and times are told.

const NUMBER = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export function number(value) {
  return NUMBER.format(value);
}

/** "1 agent", "2,000 agents". */
export function count(value, one) {
  return `${number(value)} ${value === 1 ? one : `${one}s`}`;
}

/** A share of 100 which is 100 only if nothing is missing. */
export function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  return `${part < whole && share > 99.9 ? "99.9" : part < whole ? share.toFixed(share >= 99 ? 1 : 0) : 100}%`;
}

/** Seconds as "45 s", "3 min 5 s", "2 h 10 min", "4 d 3 h". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 && whole < 600 ? ` ${whole % 60} s` : ""}`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** The time of day, with the day where it is not today; seconds since the epoch. */
export function clock(seconds) {
  const date = new Date(seconds * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return today ? CLOCK.format(date) : `${DAY.format(date)} ${CLOCK.format(date)}`;
}

export function full(seconds) {
  return FULL.format(new Date(seconds * 1000));
}

/** The API's "2026-11-20T12:00:00+0000" as seconds since the epoch; null for none. */
export function parse(text) {
  if (!text) return null;
  const milliseconds = Date.parse(text.replace(/([+-]\d\d)(\d\d)$/, "$1:$2"));
  return Number.isNaN(milliseconds) ? null : milliseconds / 1000;
}
