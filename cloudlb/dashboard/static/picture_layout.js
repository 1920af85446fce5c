// Where cells stand: pure, without a page.

const LEAST = 6;
const MOST = 30;
const SHARE = 0.46;

/** The distance of two cells such that `count` of them fill a good part of the room without crowding it. */
export function pitchFor(count, width, height) {
  const fitting = Math.floor(Math.sqrt((SHARE * width * height) / Math.max(1, count)));
  const most = width < 500 ? MOST - 6 : Math.max(MOST, Math.floor(width / 38));
  return Math.min(most, Math.max(width < 500 ? LEAST + 1 : LEAST, fitting));
}

/** The least width of a server's card. */
export function cardWidth(servers, width) {
  if (width < 500) return width;
  if (servers <= 2) return width / 2.2;
  if (servers <= 4) return width / (servers + 0.3) - 12;
  return Math.max(168, Math.min(width / 4.4, Math.sqrt((width * width * 0.42) / servers)));
}

/** The places of one server's agents. Who leaves leaves a gap, which the next one fills: nobody else moves. */
export class Slots {
  constructor(ids) {
    this.ids = [...ids];
    this.places = new Map(this.ids.map((id, place) => [id, place]));
    this.gaps = [];
  }

  get size() {
    return this.ids.length;
  }

  get gone() {
    return this.gaps.length;
  }

  add(id) {
    if (this.places.has(id)) return;
    const place = this.gaps.length ? this.gaps.shift() : this.ids.length;
    this.ids[place] = id;
    this.places.set(id, place);
  }

  remove(id) {
    const place = this.places.get(id);
    if (place === undefined) return;
    this.places.delete(id);
    this.ids[place] = null;
    this.gaps.push(place);
    this.gaps.sort((a, b) => a - b);
    while (this.ids.length && this.ids[this.ids.length - 1] === null) {
      this.ids.pop();
      this.gaps.pop();
    }
  }
}

/** The middle of a place. */
export function middle(place, columns, pitch) {
  return { x: (place % columns) * pitch + pitch / 2, y: Math.floor(place / columns) * pitch + pitch / 2 };
}

/** How many agents of each server prefer each other one: [from, to, count], the most first. */
export function flows(hosts) {
  const counts = new Map();
  for (const host of hosts) {
    if (!host.away || host.home === null) continue;
    const key = `${host.server} ${host.home}`;
    const flow = counts.get(key);
    if (flow) flow[2] += 1;
    else counts.set(key, [host.server, host.home, 1]);
  }
  return [...counts.values()].sort((a, b) => b[2] - a[2]);
}
