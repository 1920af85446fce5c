// A table of any number of rows, of which only those in sight are in the page.

import { fill, h, perFrame } from "./dom.js";

const BEYOND = 12;

export class VirtualTable {
  /** columns: {key, title, width, right, phone, cell(row), sortable}. caption: its name. open(row): Enter on a row. */
  constructor({ columns, caption, onSort, open }) {
    this.columns = columns;
    this.open = open;
    this.rows = [];
    this.drawn = new Map();
    this.active = 0;
    this.rowHeight = 0;
    this.sortCells = new Map();
    this.head = h("tr", { "aria-rowindex": 1 }, columns.map((column) => this.heading(column, onSort)));
    this.above = h("tr", { class: "gap", "aria-hidden": "true" }, h("td"));
    this.below = h("tr", { class: "gap", "aria-hidden": "true" }, h("td"));
    this.body = h("tbody", {}, this.above, this.below);
    this.table = h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, this.head), this.body);
    this.element = h("div", { class: "virtual panel", tabindex: 0, role: "region", "aria-label": caption }, this.table);
    this.draw = perFrame(() => this.drawNow());
    this.element.addEventListener("scroll", this.draw, { passive: true });
    this.element.addEventListener("keydown", (event) => this.onKey(event));
    this.resized = new ResizeObserver(() => { this.rowHeight = 0; this.draw(); });
    this.resized.observe(this.element);
  }

  heading(column, onSort) {
    const button = h("button", { class: "sort", type: "button", onclick: () => onSort(column.key) }, column.title);
    const cell = h("th", { scope: "col", class: this.classes(column) }, button);
    if (column.width) cell.style.width = column.width;
    this.sortCells.set(column.key, cell);
    return cell;
  }

  classes(column) {
    return [column.right && "right", column.phone === false && "phone-off"].filter(Boolean).join(" ");
  }

  showSort(key, descending) {
    for (const [name, cell] of this.sortCells) {
      if (name === key) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  }

  /** Show other rows; each has an id, and is another object when it has changed. */
  set(rows) {
    this.rows = rows;
    this.table.setAttribute("aria-rowcount", rows.length + 1);
    this.active = Math.min(this.active, Math.max(0, rows.length - 1));
    this.draw();
  }

  /** Draw all rows anew: what they tell has changed besides themselves. */
  renew() {
    this.drawn.clear();
    this.draw();
  }

  drawNow() {
    if (!this.element.isConnected) return;
    if (!this.rowHeight) this.rowHeight = parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 38;
    const height = this.rowHeight;
    const first = Math.max(0, Math.floor(this.element.scrollTop / height) - BEYOND);
    const last = Math.min(this.rows.length, Math.ceil((this.element.scrollTop + this.element.clientHeight) / height) + BEYOND);
    this.above.firstChild.style.height = `${first * height}px`;
    this.below.firstChild.style.height = `${(this.rows.length - last) * height}px`;
    const focused = this.focusedId();
    const drawn = new Map();
    const elements = [];
    for (let place = first; place < last; place += 1) {
      const row = this.rows[place];
      const before = this.drawn.get(row.id);
      const element = before?.row === row ? before.element : this.make(row);
      element.setAttribute("aria-rowindex", place + 2);
      drawn.set(row.id, { row, element });
      elements.push(element);
    }
    this.drawn = drawn;
    this.place(elements);
    if (focused !== null && !this.element.contains(document.activeElement)) this.focusRow(focused);
  }

  /** Put rows between the gaps, and touch only what is elsewhere. */
  place(elements) {
    const wanted = new Set(elements);
    for (const row of [...this.body.children]) {
      if (row !== this.above && row !== this.below && !wanted.has(row)) row.remove();
    }
    let next = this.above.nextSibling;
    for (const element of elements) {
      if (element === next) next = next.nextSibling;
      else this.body.insertBefore(element, next);
    }
  }

  make(row) {
    return h("tr", { "data-id": row.id }, this.columns.map((column) =>
      fill(h("td", { class: this.classes(column) }), column.cell(row))));
  }

  focusedId() {
    return document.activeElement?.closest?.(".virtual tr[data-id]")?.dataset.id ?? null;
  }

  focusRow(id) {
    for (const [key, { element }] of this.drawn) {
      if (String(key) === String(id)) element.querySelector("a, button")?.focus({ preventScroll: true });
    }
  }

  onKey(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / (this.rowHeight || 38)) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const id = this.focusedId();
    if (event.key === "Enter" && id === null && this.rows.length) this.open(this.rows[this.active]);
    if (!(event.key in steps) || !this.rows.length || event.target.closest("input, select")) return;
    event.preventDefault();
    const at = id === null ? -1 : this.rows.findIndex((row) => String(row.id) === id);
    this.active = Math.min(this.rows.length - 1, Math.max(0, at + steps[event.key]));
    const top = this.active * this.rowHeight;
    const seen = this.element.clientHeight - this.rowHeight;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + this.rowHeight > this.element.scrollTop + seen) this.element.scrollTop = top + this.rowHeight - seen;
    this.drawNow();
    this.focusRow(this.rows[this.active].id);
  }

  end() {
    this.resized.disconnect();
  }
}
