// Agents on their way from server to server, over the picture.

import { along, drawAgent, drawFlow, sized } from "./picture_draw.js";
import { calm } from "./theme.js";

const FLIGHT = 1100;
const SPREAD = 500;
const MOST = 300;

export class Motion {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.canvas.className = "motion";
    this.canvas.setAttribute("aria-hidden", "true");
    this.flights = [];
    this.flows = [];
    this.under = false;
    this.landed = () => {};
  }

  /** Have an agent fly. In a storm some of many do: the cells tell of all. */
  fly(id, from, to, tone, pitch) {
    if (calm.matches || document.hidden || this.flights.length >= MOST) return false;
    const delay = this.flights.length > 3 ? Math.random() * SPREAD : 0;
    this.flights.push({ id, from, to, tone, pitch, start: performance.now() + delay });
    this.run();
    return true;
  }

  isFlying(id) {
    return this.flights.some((flight) => flight.id === id);
  }

  /** Show who is drawn to whom: [from, to, count, strength], points of the picture. */
  showFlows(lines) {
    this.flows = lines;
    this.run();
  }

  resize(width, height, palette, scale) {
    Object.assign(this, { width, height, palette, scale });
    this.run();
  }

  stop() {
    this.flights = [];
  }

  run() {
    if (this.under) return;
    this.under = true;
    requestAnimationFrame((now) => this.draw(now));
  }

  draw(now) {
    this.under = false;
    if (!this.width) return;
    const context = sized(this.canvas, this.width, this.height);
    for (const [from, to, count, strength] of this.flows) drawFlow(context, from, to, count, strength, this.palette, this.scale);
    const landed = [];
    for (const flight of this.flights) {
      const part = Math.min(1, Math.max(0, (now - flight.start) / FLIGHT));
      if (part >= 1) landed.push(flight);
      else this.drawFlight(context, flight, part);
    }
    if (landed.length) {
      this.flights = this.flights.filter((flight) => !landed.includes(flight));
      this.landed(landed.map((flight) => flight.id));
    }
    if (this.flights.length) this.run();
  }

  drawFlight(context, { from, to, tone, pitch }, part) {
    const eased = part < 0.5 ? 4 * part ** 3 : 1 - (-2 * part + 2) ** 3 / 2;
    const point = along(from, to, eased);
    const tail = along(from, to, Math.max(0, eased - 0.14));
    const gradient = context.createLinearGradient(tail.x, tail.y, point.x, point.y);
    gradient.addColorStop(0, "transparent");
    gradient.addColorStop(1, this.palette[tone]);
    context.strokeStyle = gradient;
    context.lineWidth = Math.max(2, pitch / 4);
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(tail.x, tail.y);
    context.lineTo(point.x, point.y);
    context.stroke();
    drawAgent(context, point.x, point.y, Math.max(10, pitch * 1.15), tone, false, this.palette);
  }
}
