// What to draw next, and how accuracy grows with the number of drawings.

import { byId, h, renderList, serverText, signName } from "./dom.js";
import { accuracy, percent } from "./format.js";
import { classById, selectSign, subscribe } from "./store.js";

const [WIDTH, HEIGHT, LEFT, TOP] = [256, 128, 48, 12]; // of the plot's area in index.html
const MAX_SUGGESTIONS = 3;
const MIN_DRAWINGS = 10; // before an accuracy is worth stating

function describeCurve(curve) {
  const [first, last] = [curve[0], curve.at(-1)];
  const drawings = last.drawings === 1 ? "one drawing" : `${last.drawings} drawings`;
  const start = first.drawings ? `with ${first.drawings}` : "from fonts alone";
  const [before, after] = [percent(first.accuracy), percent(last.accuracy)];
  return `With ${drawings} per sign it recognises ${after} of the rest; ${start}, ${before}.`;
}

function plot(curve) {
  const point = ({ x }, share) => [LEFT + WIDTH * x, TOP + HEIGHT * (1 - share)].map((value) => value.toFixed(1));
  const means = curve.map((one) => point(one, one.accuracy));
  const highs = curve.map((one) => point(one, one.high));
  const lows = curve.map((one) => point(one, one.low));
  const [endX, endY] = means.at(-1).map(Number);
  return [
    h("svg:polygon", { points: [...highs, ...lows.reverse()].join(" "), class: "band" }),
    h("svg:polyline", { points: means.join(" "), class: "line" }),
    ...means.map(([cx, cy]) => h("svg:circle", { cx, cy, r: 2.5, class: "dot" })),
    ...curve.map((one) => h("svg:text", { x: point(one, 0)[0], y: 156, class: "middle" }, one.drawings || "fonts")),
    h("svg:text", { x: endX + 8, y: endY + 4, class: "label" }, percent(curve.at(-1).accuracy)),
  ];
}

function renderSuggestion({ id, name, message }) {
  const button = h("button", { type: "button", onclick: () => selectSign(id) }, "Draw ", signName(name));
  return h("li", {}, button, h("span", {}, serverText(message)));
}

function render({ accuracy: rate, learning_curve: curve, ready, suggestions, up_to_date: isUpToDate }) {
  const next = suggestions.slice(0, MAX_SUGGESTIONS).map((one) => ({
    id: one.class, message: one.message, name: classById(one.class).name,
  }));
  const [hasRate, hasCurve] = [rate?.total >= MIN_DRAWINGS, curve.length > 1];
  byId("learning").hidden = !ready;
  byId("learning").classList.toggle("stale", !isUpToDate);
  byId("updating").hidden = isUpToDate;
  byId("suggestions-title").hidden = !next.length;
  renderList(byId("suggestions"), next, renderSuggestion);
  byId("accuracy-title").hidden = !hasRate && !hasCurve;
  byId("accuracy").textContent = hasRate ? accuracy(rate) : "";
  byId("curve").hidden = !hasCurve;
  if (!hasCurve) return;
  byId("curve-text").textContent = describeCurve(curve);
  byId("curve-points").replaceChildren(...plot(curve));
}

export const startLearning = () => subscribe(render);
