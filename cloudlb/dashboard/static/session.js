// Who is logged in, in this tab. The cookie of the session is out of reach for scripts; its key is kept for reloads.

const KEPT = "cloudlb-session";

let current = read();

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT));
  } catch {
    return null;
  }
}

/** {key, username, role} or null. */
export function session() {
  return current;
}

export function begin(answer, username) {
  current = { key: answer.sessionkey, username: answer.username ?? username, role: answer.rolename ?? "" };
  sessionStorage.setItem(KEPT, JSON.stringify(current));
}

export function forget() {
  current = null;
  sessionStorage.removeItem(KEPT);
}

/** Whether this user may change anything; the server decides, this only leaves out what it would refuse. */
export function mayChange() {
  return current !== null && !/read.?only/i.test(current.role);
}
