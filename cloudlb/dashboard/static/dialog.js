// Dialogs: one that tells something, and one that says what a change will do, does it, and asks who you are if need be.

import { login } from "./api.js";
import { announce, toast } from "./announce.js";
import { fill, h } from "./dom.js";
import { session } from "./session.js";
import { follow } from "./stream.js";

let titles = 0;

function open(title, className, ...parts) {
  titles += 1;
  const heading = h("h2", { id: `dialog-${titles}` }, title);
  const dialog = h("dialog", { class: className, "aria-labelledby": heading.id });
  const form = h("form", { method: "dialog", novalidate: true }, heading, ...parts);
  dialog.append(form);
  const opener = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    // What it was opened with may be gone meanwhile.
    if (!opener.isConnected) document.getElementById("main")?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, form };
}

/** Show something that only wants to be closed. */
export function tell(title, ...parts) {
  open(title, "", ...parts, h("footer", {}, h("button", { class: "button first", value: "close" }, "Close")));
}

/**
 * Say what a change will do and do it when it is confirmed; resolves with whether it was done.
 *
 * does: sentences, one for each thing that will happen. fields: elements that are asked for with it. run: makes the
 * change and returns what to say of it. verb: on the button. grave: it cuts somebody off.
 */
export function confirmChange({ title, does, fields = [], verb, run, grave = false, wide = false, ready = null }) {
  return new Promise((resolve) => {
    let done = false;
    const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
    const password = h("input", { type: "password", autocomplete: "current-password", name: "password" });
    const asks = h("label", { class: "field", hidden: true },
      h("span", {}, "Your password"), password,
      h("small", {}, `You logged in as ${session()?.username} a while ago. Changes ask who you are again.`));
    // For the browser's keeper of passwords.
    const username = h("input", { type: "text", autocomplete: "username", value: session()?.username ?? "", hidden: true });
    const confirm = h("button", { type: "submit", class: `button first${grave ? " grave" : ""}`, name: "confirm" }, verb);
    const cancel = h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel");
    const says = h("ul");
    const tellWhat = (sentences) => fill(says, sentences.map((sentence) => h("li", {}, sentence)));
    tellWhat(does);
    const { dialog, form } = open(title, wide ? "wide" : "",
      h("div", { class: "says" }, says), fields, username, asks, wrong, h("footer", {}, cancel, confirm));
    ready?.({ tellWhat, confirm, form });

    const attempt = async () => {
      if (!asks.hidden) {
        await login(session().username, password.value);
        asks.hidden = true;
        follow();
      }
      return run();
    };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (confirm.disabled) return;
      confirm.disabled = true;
      wrong.hidden = true;
      try {
        const outcome = await attempt();
        done = true;
        dialog.close();
        if (outcome) { toast(outcome); announce(outcome); }
      } catch (error) {
        if (error.wantsPassword) {
          asks.hidden = false;
          password.focus();
        } else {
          wrong.hidden = false;
          fill(wrong, error.message);
        }
      } finally {
        confirm.disabled = false;
      }
    });
    dialog.addEventListener("close", () => resolve(done));
  });
}

export function checkbox(name, label, note = "") {
  const input = h("input", { type: "checkbox", name });
  return [input, h("label", { class: "check" }, input, h("span", {}, label, note && h("small", { class: "muted" }, ` ${note}`)))];
}

export function choice(name, label, options, note = "") {
  const select = h("select", { name }, options.map(([value, text]) => h("option", { value }, text)));
  return [select, h("label", { class: "field" }, h("span", {}, label), select, note && h("small", {}, note))];
}
