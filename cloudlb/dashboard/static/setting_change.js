// Changing a setting. One that decides who is on which server is planned first: who would move where.

import { call } from "./api.js";
import { confirmChange } from "./dialog.js";
import { fill, h, settled } from "./dom.js";
import { count, number } from "./format.js";

/** The parameter of `plan` that stands for a setting. */
const PLANNED = { host: "host", "indirect.agent.lb.algorithm": "algorithm", "indirect.agent.lb.weights": "weights" };
const SHOWN = 8;

export function change(setting, cluster) {
  const input = inputFor(setting);
  const field = h("label", { class: "field" }, h("span", {}, "New value"), input,
    h("small", {}, `The default is ${setting.defaultvalue === "" ? "empty" : setting.defaultvalue}.`));
  const reset = h("button", { type: "button", class: "button", onclick: () => { input.value = setting.defaultvalue; input.dispatchEvent(new Event("input")); } },
    "Take the default");
  const parameter = cluster ? null : PLANNED[setting.name];
  const plan = parameter ? new PlanView(parameter, input, setting.value) : null;
  return confirmChange({
    title: setting.name,
    does: [setting.description, cluster ? "It will hold for this cluster only." : "It will hold on every server at once."],
    verb: "Apply", wide: plan !== null,
    fields: [field, h("div", {}, reset), plan?.element],
    ready: ({ confirm }) => {
      const judge = () => { confirm.disabled = input.value === setting.value || (plan !== null && !plan.isOf(input.value)); };
      input.addEventListener("input", judge);
      plan?.onKnown(judge);
      judge();
      input.focus();
    },
    run: async () => {
      const scope = cluster ? { clusterid: cluster } : {};
      if (input.value === setting.defaultvalue) await call("resetConfiguration", { name: setting.name, ...scope });
      else await call("updateConfiguration", { name: setting.name, value: input.value, ...scope });
      return `${setting.name} is ${input.value === "" ? "empty" : input.value} now.`;
    },
  });
}

function inputFor({ value, options, type, name }) {
  const choices = type === "Boolean" ? ["true", "false"] : options?.split(",");
  if (choices) return h("select", { name: "value" }, choices.map((each) => h("option", { value: each, selected: each === value }, each)));
  if (value.length > 60 || name === "host" || type === "CSV") return h("textarea", { name: "value", rows: 3, spellcheck: "false", value });
  return h("input", { name: "value", value, spellcheck: "false", autocomplete: "off" });
}

/** Who would be moved if the setting had the value that is being typed. */
class PlanView {
  constructor(parameter, input, current) {
    this.parameter = parameter;
    this.input = input;
    this.planned = null;
    this.known = () => {};
    this.body = h("div", { class: "plan-body" });
    this.element = h("section", { class: "plan", "aria-label": "Plan", "aria-live": "polite" }, h("h3", {}, "Who would move"), this.body);
    const later = settled(() => this.ask(), 300);
    input.addEventListener("input", () => {
      fill(this.body, h("p", { class: "muted" }, input.value === current ? "Nothing is changed yet." : "Planning…"));
      if (input.value !== current) later();
    });
    fill(this.body, h("p", { class: "muted" }, "Nothing is changed yet."));
  }

  isOf(value) {
    return this.planned === value;
  }

  onKnown(work) {
    this.known = work;
  }

  async ask() {
    const value = this.input.value;
    try {
      const { plan } = await call("plan", { [this.parameter]: value, page: 1, pagesize: SHOWN });
      if (this.input.value !== value) return;
      this.planned = value;
      fill(this.body, planTable(plan));
    } catch (error) {
      fill(this.body, h("p", { class: "wrong" }, error.message));
    }
    this.known();
  }
}

function planTable(plan) {
  const moves = plan.count ?? 0;
  const shown = plan.move ?? [];
  return [
    h("p", {}, h("strong", {}, moves ? `${count(moves, "agent")} would move.` : "Nobody would move."), " ",
      h("span", { class: "muted" }, "They go one after the other, as fast as indirect.agent.lb.move.rate allows.")),
    (plan.note ?? []).map((note) => h("p", { class: "muted" }, note)),
    h("div", { class: "scroll" }, h("table", {}, h("caption", { class: "unseen" }, "Agents of each server, before and after"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Server"), h("th", { scope: "col", class: "right" }, "Now"),
        h("th", { scope: "col", class: "right" }, "Then"), h("th", { scope: "col" }, h("span", { class: "unseen" }, "Difference")))),
      h("tbody", {}, (plan.server ?? []).map((server) => share(server))))),
    shown.length > 0 && h("details", {}, h("summary", {}, `The first ${shown.length} of ${number(moves)} moves`),
      h("ul", { class: "feed" }, shown.map((move) => h("li", {}, h("strong", {}, move.hostname), ` ${move.source} → ${move.target}`)))),
    (plan.stay ?? []).map((stay) => h("p", { class: "small muted" }, `${number(stay.count)} stay: ${stay.reason}`)),
  ];
}

function share(server) {
  const [before, after] = [server.before ?? 0, server.after ?? 0];
  const difference = after - before;
  return h("tr", {},
    h("td", {}, server.name ?? server.address, !server.listed && h("span", { class: "tag" }, "not listed"), server.state !== "Up" && h("span", { class: "tag" }, server.state ?? "no such server")),
    h("td", { class: "right" }, number(before)), h("td", { class: "right" }, h("strong", {}, number(after))),
    h("td", { class: "number" }, difference ? `${difference > 0 ? "+" : "−"}${number(Math.abs(difference))}` : h("span", { class: "muted" }, "same")));
}
