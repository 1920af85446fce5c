// The beginning: who is logged in, the stream, and the view that the address names.

import { onLoggedOut } from "./api.js";
import { fleet } from "./fleet.js";
import * as keys from "./keys.js";
import { route } from "./router.js";
import { session } from "./session.js";
import { Shell } from "./shell.js";
import * as stream from "./stream.js";
import * as theme from "./theme.js";
import { showLogin } from "./login.js";
import { alerts } from "./alerts.js";
import { events } from "./events.js";
import { host } from "./host.js";
import { hosts } from "./hosts.js";
import { investigations } from "./investigations.js";
import { overview } from "./overview.js";
import { servers } from "./servers.js";
import { settings } from "./settings.js";

// A view is a function of the route that returns {title, elements, end}; `end` is called when another one comes.
const VIEWS = { overview, hosts, host, servers, settings, investigations, events, alerts };
const PARENTS = { host: "hosts" };

const root = document.getElementById("app");
let shell = null;
let current = null;
let shown = "";

function show() {
  if (!shell) return;
  const where = route();
  const name = Object.hasOwn(VIEWS, where.name) ? where.name : "overview";
  const key = `${name}/${where.argument}`;
  current?.end();
  current = VIEWS[name](where);
  shell.show(PARENTS[name] ?? name, current.title, current.elements, shown !== "" && shown !== key);
  shown = key;
}

function enter() {
  shell = new Shell(root, { showKeys: keys.showKeys, leave });
  stream.onState((state, refusal) => shell?.setState(state, refusal));
  stream.follow();
  show();
}

function leave() {
  stream.leave();
  current?.end();
  shell?.end();
  current = shell = null;
  shown = "";
  fleet.clear();
  document.querySelectorAll("dialog").forEach((dialog) => dialog.close());
  showLogin(root, enter);
}

theme.begin();
keys.begin();
onLoggedOut(leave);
addEventListener("hashchange", show);
if (session()) enter();
else showLogin(root, enter);
