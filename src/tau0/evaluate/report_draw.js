"use strict";
// Small builders: elements, pictures from the sprite, and the three drawings. Text is always set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const KEYS = ["--a", "--b", "--c", "--d", "--e", "--f"];

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) node.setAttribute(name, String(value));
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const html = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

/** Two decimals; `tiny` decimals below 0.01, and up to four where two would hide a difference from `beside`. */
function number(value, beside = null, tiny = 4) {
  if (value === null) return "–";
  let digits = Math.abs(value) >= 0.01 || value === 0 ? 2 : tiny;
  while (beside !== null && beside !== value && digits < 4 && value.toFixed(digits) === beside.toFixed(digits)) digits += 1;
  return value.toFixed(digits).replace(/^-(?=[0.]+$)/, "").replace("-", "−");
}

const key = (index) => `var(${KEYS[index % KEYS.length]})`;

/** One picture of a sprite, drawn as soon as the sprite is decoded. */
function tile(sprite, index, label) {
  const canvas = html("canvas", { class: "tile", width: sprite.width, height: sprite.height, role: "img", "aria-label": label });
  const x = (index % sprite.columns) * sprite.width;
  const y = Math.floor(index / sprite.columns) * sprite.height;
  sprite.ready.then((image) => {
    canvas.getContext("2d").drawImage(image, x, y, sprite.width, sprite.height, 0, 0, sprite.width, sprite.height);
  });
  return canvas;
}

function decoded(sprite) {
  if (sprite && !sprite.ready) {
    const image = new Image();
    sprite.ready = new Promise((done) => { image.onload = () => done(image); });
    image.src = sprite.src;
  }
  return sprite;
}

/** Smallest and largest of many numbers, widened to at least `span` and padded a little. */
function range(values, span) {
  const known = values.filter((value) => value !== null);
  let low = Math.min(...known), high = Math.max(...known);
  const lacking = Math.max(0, span - (high - low)) / 2;
  low -= lacking; high += lacking;
  const pad = 0.06 * (high - low);
  return [low - pad, high + pad];
}

function path(values, width, height, [low, high]) {
  const step = width / Math.max(1, values.length - 1);
  return values.map((value, i) => value === null ? "" : `${i ? "L" : "M"}${(i * step).toFixed(1)} ${(height * (high - value) / (high - low)).toFixed(1)}`).join("");
}

/** A candidate's simulated progress before the pale curves of all others, its peak marked. */
function progressDrawing(progress, others, limits) {
  const width = 220, height = 56, peak = progress.indexOf(Math.max(...progress));
  const x = peak * width / Math.max(1, progress.length - 1), y = height * (limits[1] - progress[peak]) / (limits[1] - limits[0]);
  const zero = limits[0] < 0 && limits[1] > 0 ? height * limits[1] / (limits[1] - limits[0]) : null;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Progress rises to ${number(progress[peak], null, 2)} at step ${peak}` },
    svg("line", { class: "gridline", x1: 0, x2: width, y1: height, y2: height }),
    zero !== null && svg("line", { class: "axis", x1: 0, x2: width, y1: zero, y2: zero, "stroke-dasharray": "2 3" }),
    others.map((other) => svg("path", { class: "ghost", d: path(other, width, height, limits) })),
    svg("path", { class: "curve", d: path(progress, width, height, limits) }),
    svg("line", { class: "gridline", x1: x, x2: x, y1: y + 5, y2: height }),
    svg("circle", { class: "peak", cx: x, cy: y, r: 4.5 }));
}

/** One line per action dimension over the steps of the chunk; the part that was executed is shaded. */
function actionsDrawing(lines, limits, executed) {
  const width = 220, height = 40, steps = lines[0].length;
  const zero = height * limits[1] / (limits[1] - limits[0]);
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${lines.length} action dimensions over ${steps} steps` },
    executed && svg("rect", { class: "executed", x: 0, y: 0, height, width: width * Math.min(1, executed / Math.max(1, steps - 1)) }),
    svg("line", { class: "axis", x1: 0, x2: width, y1: zero, y2: zero }),
    lines.map((line, i) => svg("path", { class: "action", style: `stroke: ${key(i)}`, d: path(line, width, height, limits) })));
}

/** One candidate's score among the others of its round, the gate as a line. */
function scoreDrawing(score, others, gate, limits) {
  const width = 220, height = 12, at = (value) => 4 + (width - 8) * (value - limits[0]) / (limits[1] - limits[0]);
  return svg("svg", { class: "scores", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    svg("line", { class: "line", x1: 0, x2: width, y1: 6, y2: 6 }),
    gate !== null && svg("line", { class: "limit", x1: at(gate), x2: at(gate), y1: 0, y2: 12 }),
    others.map((other) => svg("circle", { class: "dot", cx: at(other), cy: 6, r: 3 })),
    svg("circle", { class: "dot own", cx: at(score), cy: 6, r: 4.5 }));
}

/** Every score on one axis, the gate as a line, the side that passes tinted. */
function gateDrawing(scores, gate, limits) {
  const width = 440, base = 40, left = 6, right = 434;
  const at = (value) => left + (right - left) * (value - limits[0]) / (limits[1] - limits[0]);
  const best = Math.max(...scores), line = gate === null ? null : at(gate);
  const anchor = (x) => (x > width * 0.75 ? "end" : x < width * 0.25 ? "start" : "middle");
  const label = gate === null ? `Best score ${number(best)}` : `Best score ${number(best, gate)}, gate ${number(gate, best)}`;
  return svg("svg", { class: "gate-axis", viewBox: `0 0 ${width} 62`, role: "img", "aria-label": label },
    line !== null && svg("rect", { class: "pass", x: line, y: 22, width: Math.max(0, right - line), height: 26 }),
    svg("line", { class: "axis", x1: left, x2: right, y1: base, y2: base }),
    scores.map((score) => score !== best && svg("circle", { class: "dot", cx: at(score), cy: base, r: 5 })),
    svg("circle", { class: "dot best", cx: at(best), cy: base, r: 6 }),
    svg("text", { class: "strong", x: at(best), y: 16, "text-anchor": anchor(at(best)) }, `best ${number(best, gate)}`),
    svg("line", { class: "axis", x1: at(best), x2: at(best), y1: 20, y2: 33 }),
    line !== null && svg("line", { class: "limit", x1: line, x2: line, y1: 22, y2: 48 }),
    line !== null && svg("text", { class: "limit-name", x: line, y: 60, "text-anchor": anchor(line) }, `gate ${number(gate, best)}`));
}
