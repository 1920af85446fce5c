// Calls of /client/api, by the session of this tab.

import { begin, forget, session } from "./session.js";

const POLL = 700;

class ApiError extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }

  /** The session stands, and is too old for a change. */
  get wantsPassword() {
    return this.code === 401 && /^log in again/i.test(this.message);
  }
}

let loggedOut = () => {};

/** Say what happens when the server does not know the session any more. */
export function onLoggedOut(work) {
  loggedOut = work;
}

async function send(command, parameters) {
  const form = new URLSearchParams({ command, response: "json" });
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null) form.set(name, value);
  }
  let response;
  try {
    response = await fetch("/client/api", { method: "POST", body: form, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new ApiError(0, "the management server does not answer");
  }
  let body;
  try {
    [body] = Object.values(await response.json());
  } catch {
    throw new ApiError(response.status, `the management server answered with ${response.status}`);
  }
  if (!response.ok) throw new ApiError(response.status, body.errortext ?? `the answer was ${response.status}`);
  return body;
}

/** Call a command; its answer without the envelope. */
export async function call(command, parameters = {}) {
  try {
    return await send(command, { ...parameters, sessionkey: session()?.key });
  } catch (error) {
    if (error.code === 401 && !error.wantsPassword) {
      forget();
      loggedOut();
    }
    throw error;
  }
}

/** Call a command that starts a job, and wait for what becomes of it. */
export async function callJob(command, parameters = {}) {
  const { jobid } = await call(command, parameters);
  for (;;) {
    const job = await call("queryAsyncJobResult", { jobid });
    if (job.jobstatus === 1) return job.jobresult;
    if (job.jobstatus === 2) throw new ApiError(job.jobresultcode, job.jobresult?.errortext ?? "the job failed");
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}

/** The one list of an answer, whatever its name; none is an empty one. */
export function rows(body) {
  return Object.values(body).find(Array.isArray) ?? [];
}

/** Log in, in the place of the session that there is. */
export async function login(username, password) {
  begin(await send("login", { username, password, sessionkey: session()?.key }), username);
}

export async function logout() {
  try {
    await send("logout", { sessionkey: session()?.key });
  } finally {
    forget();
  }
}
