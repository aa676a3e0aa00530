// What to draw next and why, and how much was gained by what was drawn.

import { byId, make, renew, said, sign } from "./dom.js";
import { takeInHand } from "./draw.js";
import { classOf, onState } from "./state.js";
import { percent, rate } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [360, 180];
const FRAME = { left: 48, right: 56, top: 12, bottom: 40 };

export function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function next({ advice }) {
  return advice.slice(0, 3).flatMap(({ class: id, why }) => {
    const one = classOf(id);
    if (!one) return [];
    const take = () => {
      takeInHand(id);
      byId("task").scrollIntoView({ block: "nearest" });
    };
    const button = make("button", { type: "button", "data-stay": id, onclick: take }, "Draw ", sign(one.name));
    return [make("li", {}, button, make("span", {}, said(why)))];
  });
}

function finding(curve) {
  const [first, last] = [curve[0], curve.at(-1)];
  const drawings = last.samples === 1 ? "one drawing" : `${last.samples} drawings`;
  const from = first.samples ? `${first.samples} of them` : "print alone";
  const gained = last === first ? "" : `; with ${from}, ${percent(first.right)}`;
  return `With ${drawings} a sign, ${percent(last.right)} of the others are read right${gained}.`;
}

/** The learning curve: the mean of the draws, and the lowest and the highest as a band. */
function plot(curve) {
  const most = Math.log1p(curve.at(-1).samples) || 1;
  const x = (samples) => FRAME.left + (Math.log1p(samples) / most) * (WIDTH - FRAME.left - FRAME.right);
  const y = (share) => FRAME.top + (1 - share) * (HEIGHT - FRAME.top - FRAME.bottom);
  const line = (points) => points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");
  const band = [
    ...curve.map(({ samples, high }) => [x(samples), y(high)]),
    ...curve.toReversed().map(({ samples, low }) => [x(samples), y(low)]),
  ];
  const grid = [0, 0.5, 1].flatMap((share) => [
    draw("line", { x1: FRAME.left, x2: WIDTH - FRAME.right, y1: y(share), y2: y(share), class: "grid" }),
    draw("text", { x: FRAME.left - 8, y: y(share) + 4, class: "axis end" }, percent(share)),
  ]);
  const ticks = curve.map(({ samples }) =>
    draw("text", { x: x(samples), y: HEIGHT - FRAME.bottom + 16, class: "axis middle" }, samples || "print"),
  );
  const points = curve.map(({ samples, right }) => [x(samples), y(right)]);
  const [endX, endY] = points.at(-1);
  return draw(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": finding(curve) },
    ...grid,
    draw("polygon", { points: line(band), class: "band" }),
    draw("polyline", { points: line(points), class: "line" }),
    ...points.map(([a, b]) => draw("circle", { cx: a, cy: b, r: 2.5, class: "dot" })),
    draw("text", { x: endX + 8, y: endY + 4, class: "label" }, percent(curve.at(-1).right)),
    ...ticks,
    draw("text", { x: FRAME.left, y: HEIGHT - 4, class: "axis" }, "drawings a sign"),
  );
}

function render(state) {
  const root = byId("growth");
  const advice = next(state);
  const { curve, right } = state;
  root.hidden = !state.ready;
  root.classList.toggle("stale", !state.analysed);
  const waiting = state.analysed ? "" : make("span", { class: "quiet" }, " is being worked out…");
  const parts = [];
  if (advice.length) {
    parts.push(make("h2", { id: "growth-title" }, "Draw next", waiting), make("ul", { class: "next" }, advice));
  }
  parts.push(make("h2", advice.length ? {} : { id: "growth-title" }, "How it learns"));
  if (curve.length > 1) {
    parts.push(make("p", { class: "finding" }, finding(curve)), plot(curve));
    if (curve.some(({ low, high }) => high - low > 0.005)) {
      parts.push(make("p", { class: "quiet" }, "The band: the lowest and the highest of ten draws of which drawings are learnt from."));
    }
  } else {
    parts.push(make("p", { class: "quiet" }, "A curve grows here, once most signs have two drawings or more."));
  }
  if (right) parts.push(make("p", {}, `All drawings, each left out of what is learnt: ${rate(right)}.`));
  if (state.promises.length) {
    const promises = state.promises.map((text) => make("li", {}, text));
    parts.push(make("ul", { class: "quiet promises" }, promises));
  }
  renew(root, ...parts);
}

export function startGrowth() {
  onState(render);
}
