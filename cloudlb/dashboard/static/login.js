// The page for whoever is not logged in.

import { login } from "./api.js";
import { fill, h, say } from "./dom.js";

const logo = new URL("./icon.svg", import.meta.url).href;

export function showLogin(root, entered) {
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const username = h("input", { name: "username", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const button = h("button", { class: "button first", type: "submit" }, "Log in");
  const form = h("form", { class: "panel login" },
    h("img", { src: logo, alt: "" }),
    h("h1", {}, "cloudlb"),
    h("p", { class: "muted" }, "Management servers and their agents"),
    h("label", { class: "field" }, h("span", {}, "User"), username),
    h("label", { class: "field" }, h("span", {}, "Password"), password),
    wrong, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    wrong.hidden = true;
    try {
      await login(username.value, password.value);
      entered();
    } catch (error) {
      wrong.hidden = false;
      say(wrong, error.message);
      password.select();
    } finally {
      button.disabled = false;
    }
  });
  document.title = "Log in · cloudlb";
  fill(root, h("main", { class: "door", id: "main", tabindex: -1 }, form));
  username.focus();
}
