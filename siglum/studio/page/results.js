// How good it is: accuracy of examples and tests, mix-ups, the learning curve, and the people.

import { renderMixups } from "./confusion.js";
import { byId, h, renderList } from "./dom.js";
import { accuracy, percent } from "./format.js";
import { getDrawings, onDrawings, getState, subscribe } from "./store.js";

const [WIDTH, HEIGHT, LEFT, TOP] = [256, 128, 48, 12]; // of the plot's area in index.html
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

/** The accuracy of examples or tests, and their mix-ups. */
function renderPart(id, { accuracy: rate, confusions }, field) {
  const { classes } = getState();
  const totals = classes.map((one) => [one.id, one[field]?.total ?? 0]);
  const names = classes.map(({ name }) => name);
  const known = getDrawings().length; // the drawings of mix-ups may still be on their way
  byId(`${id}-results`).hidden = !(rate?.total >= MIN_DRAWINGS);
  byId(`${id}-accuracy`).textContent = rate ? accuracy(rate) : "";
  renderList(byId(`${id}-mixups`), [{ id, confusions, totals, names, known }], () => renderMixups(confusions, new Map(totals)));
}

function renderPerson({ name, train, test, accuracy: rate }) {
  const numbers = [train, test, rate ? `${rate.hits} of ${rate.total}` : "–"];
  return h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, name || "no name")),
    numbers.map((value) => h("td", { class: "number" }, String(value))));
}

function render() {
  const state = getState();
  if (!state) return;
  const { authors, learning_curve: curve, ready, up_to_date: isUpToDate } = state;
  byId("results").classList.toggle("empty-set", !ready);
  byId("results").classList.toggle("stale", !isUpToDate);
  byId("updating").hidden = isUpToDate;
  renderPart("train", state, "accuracy");
  renderPart("test", state.test, "test_accuracy");
  byId("people").hidden = authors.length < 2;
  byId("people-rows").replaceChildren(...authors.map(renderPerson));
  byId("curve").hidden = curve.length < 2;
  if (curve.length < 2) return;
  byId("curve-text").textContent = describeCurve(curve);
  byId("curve-points").replaceChildren(...plot(curve));
}

export function startResults() {
  subscribe(render);
  onDrawings(render);
}
