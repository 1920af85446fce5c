// Dark or light: as the system has it, unless somebody has switched.

const KEPT = "cloudlb-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const observers = new Set();

export const calm = matchMedia("(prefers-reduced-motion: reduce)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : dark.matches;
}

export function begin() {
  const kept = localStorage.getItem(KEPT);
  if (kept) document.documentElement.dataset.theme = kept;
  dark.addEventListener("change", tell);
}

export function toggle() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem(KEPT, theme);
  tell();
}

/** Be told when colours are others; end with the result. */
export function onTheme(work) {
  observers.add(work);
  return () => observers.delete(work);
}

function tell() {
  for (const work of observers) work();
}
