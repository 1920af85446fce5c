// Making elements. Text is always text: nothing here reads HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: properties, attributes and listeners ("onclick"), then children (nodes, texts, lists, null). */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

/** Append children of any of these kinds. */
export function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Put children in the place of all that an element has. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

const REACHED = "a[href], button, input, select, summary";

/**
 * As fill, but what is to look as before stays: focus, what is unfolded, and what a screen reader is reading. A listener
 * that stays must do what the new one would.
 */
export function renew(element, ...children) {
  const focused = element.contains(document.activeElement) ? reached(element).indexOf(document.activeElement) : -1;
  const wanted = [...h("div", {}, children).childNodes];
  [...element.childNodes].forEach((before, place) => {
    if (place < wanted.length) replace(before, wanted[place]);
    else before.remove();
  });
  element.append(...wanted.slice(element.childNodes.length));
  if (focused >= 0 && !element.contains(document.activeElement)) {
    const left = reached(element);
    left[Math.min(focused, left.length - 1)]?.focus();
  }
}

function reached(element) {
  return [...element.querySelectorAll(REACHED)];
}

function replace(before, after) {
  if (before.localName === "details" && after.localName === "details") after.open = before.open;
  if (before.isEqualNode(after)) return;
  if (before instanceof Element && !before.matches(REACHED) && before.cloneNode().isEqualNode(after.cloneNode())) renew(before, ...after.childNodes);
  else before.replaceWith(after);
}

/** Change the text only where it differs: screen readers and browsers notice every change. */
export function say(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const ICONS = {
  overview: "M4 4h7v7H4z M13 4h7v4h-7z M13 11h7v9h-7z M4 14h7v6H4z",
  hosts: "M4 5h16v5H4z M4 14h16v5H4z M8 7.5h.01 M8 16.5h.01",
  servers: "M12 3l8 4.5v9L12 21l-8-4.5v-9z M4 7.5l8 4.5 8-4.5 M12 12v9",
  settings: "M4 7h10 M18 7h2 M16 5v4 M4 17h4 M12 17h8 M10 15v4 M4 12h16",
  investigations: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13z M15.5 15.5L20 20 M8 10.5l2 2 3-4",
  events: "M4 6h3 M10 6h10 M4 12h3 M10 12h10 M4 18h3 M10 18h10",
  alerts: "M12 4l9 16H3z M12 10v4 M12 17h.01",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z M12 2v2 M12 20v2 M2 12h2 M20 12h2 M5 5l1.5 1.5 M17.5 17.5L19 19 M5 19l1.5-1.5 M17.5 6.5L19 5",
  keyboard: "M3 6h18v12H3z M7 10h.01 M11 10h.01 M15 10h.01 M8 14h8",
  leave: "M14 4H5v16h9 M10 12h11 M17 8l4 4-4 4",
  menu: "M4 7h16 M4 12h16 M4 17h16",
  arrow: "M5 12h14 M13 6l6 6-6 6",
};

/** A line icon, which says nothing to a screen reader. */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

/** A link to a view. */
export function link(route, ...children) {
  return h("a", { href: `#/${route}` }, ...children);
}

/** Call something once for all calls before the next frame. */
export function perFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; work(); });
  };
}

/** Call something when nothing has asked for it for a while. */
export function settled(work, milliseconds) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(work, milliseconds); };
}
