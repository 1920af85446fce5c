// Which view is shown, by the part of the address behind "#": "#/hosts?state=Down&sort=name".

/** The view's name, its argument and the parameters. */
export function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  return { name: name || "overview", argument: decoded(rest.join("/")), query: new URLSearchParams(query) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function href(name, argument = "", query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const text = new URLSearchParams(given).toString();
  return `#/${name}${argument === "" ? "" : `/${encodeURIComponent(argument)}`}${text ? `?${text}` : ""}`;
}

export function go(...where) {
  location.hash = href(...where);
}

/** Keep filters in the address without a step in the history. */
export function keepQuery(query) {
  const { name, argument } = route();
  history.replaceState(null, "", href(name, argument, query));
}
