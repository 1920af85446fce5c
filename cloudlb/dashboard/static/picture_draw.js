// Drawing on canvases: cells with their shapes, agents under way, and who is drawn to whom.

import { SHAPES } from "./status.js";

const TONES = ["up", "moving", "lost", "alert", "down", "idle"];
const BOX = 12;
const SMALL = 8;

/** The colours in force, as the style sheet has them. */
export function colours(element) {
  const style = getComputedStyle(element);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return Object.fromEntries([...TONES, "away", "flow", "text", "panel", "muted", "accent", "line-strong"].map((name) => [name, read(name)]));
}

/** Give a canvas a size in the page's units, sharp on every screen. */
export function sized(canvas, width, height) {
  const ratio = Math.min(devicePixelRatio || 1, 3);
  const pixels = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

const PATHS = new Map();

function shape(tone) {
  if (!PATHS.has(tone)) PATHS.set(tone, new Path2D(SHAPES[tone]));
  return PATHS.get(tone);
}

/** Draw one agent around a point; `away`: it is not on the server that it prefers. */
export function drawAgent(context, x, y, pitch, tone, away, palette) {
  const size = pitch - (pitch > 12 ? 4 : pitch > SMALL ? 2.5 : 1.4);
  const corner = size / 2;
  if (tone === "up" && pitch <= SMALL) {
    context.fillStyle = away ? palette.away : palette.up;
    context.fillRect(x - corner, y - corner, size, size);
    if (away) {
      // Hollow: it is told by its shape too.
      const hole = Math.max(1.4, size - 3);
      context.fillStyle = palette.panel;
      context.fillRect(x - hole / 2, y - hole / 2, hole, hole);
    }
    return;
  }
  context.save();
  context.translate(x - corner, y - corner);
  context.scale(size / BOX, size / BOX);
  context.fillStyle = palette[tone];
  context.fill(shape(tone), "evenodd");
  context.restore();
  if (away) {
    context.fillStyle = palette.panel;
    context.beginPath();
    context.arc(x, y, corner * 0.62, 0, 2 * Math.PI);
    context.fill();
    context.strokeStyle = palette.away;
    context.lineWidth = Math.max(1.2, size / 6);
    context.beginPath();
    context.arc(x, y, corner * 0.74, 0, 2 * Math.PI);
    context.stroke();
  }
}

/** Draw the frame around the chosen cell. */
export function drawChoice(context, x, y, pitch, palette) {
  context.strokeStyle = palette.text;
  context.lineWidth = 2;
  context.strokeRect(x - pitch / 2, y - pitch / 2, pitch, pitch);
}

/** The point of a bent line between two at a part of it. */
export function along(from, to, part) {
  const bend = bendOf(from, to);
  const rest = 1 - part;
  return {
    x: rest * rest * from.x + 2 * rest * part * bend.x + part * part * to.x,
    y: rest * rest * from.y + 2 * rest * part * bend.y + part * part * to.y,
  };
}

function bendOf(from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  return { x: (from.x + to.x) / 2 - dy * 0.12, y: (from.y + to.y) / 2 + Math.abs(dx) * 0.09 };
}

/** Draw how many agents of one server prefer another, as a line with a number at its middle. */
export function drawFlow(context, from, to, count, strength, palette, scale) {
  const bend = bendOf(from, to);
  const width = Math.min(7, 1.3 + Math.log2(count)) * scale;
  context.globalAlpha = strength;
  context.strokeStyle = palette.flow;
  context.fillStyle = palette.flow;
  context.lineWidth = width;
  context.setLineDash([2 * width, 1.5 * width]);
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.quadraticCurveTo(bend.x, bend.y, to.x, to.y);
  context.stroke();
  context.setLineDash([]);
  const [tip, before] = [along(from, to, 1), along(from, to, 0.94)];
  const angle = Math.atan2(tip.y - before.y, tip.x - before.x);
  const head = 4 * scale + width;
  context.beginPath();
  context.moveTo(tip.x, tip.y);
  context.lineTo(tip.x - head * Math.cos(angle - 0.5), tip.y - head * Math.sin(angle - 0.5));
  context.lineTo(tip.x - head * Math.cos(angle + 0.5), tip.y - head * Math.sin(angle + 0.5));
  context.fill();
  context.globalAlpha = 1;
  label(context, along(from, to, 0.5), String(count), palette, scale);
}

function label(context, point, text, palette, scale) {
  context.font = `600 ${12 * scale}px system-ui, sans-serif`;
  const width = context.measureText(text).width + 12 * scale;
  context.fillStyle = palette.panel;
  context.strokeStyle = palette.flow;
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(point.x - width / 2, point.y - 9 * scale, width, 18 * scale, 9 * scale);
  context.fill();
  context.stroke();
  context.fillStyle = palette.text;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, point.x, point.y + 0.5);
}
