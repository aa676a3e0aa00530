// How good is it? The accuracy of examples and tests, and the signs that are mixed up; the report has more.

import { byId, h, renderList, signName, thumbnail } from "./dom.js";
import { accuracy, percent } from "./format.js";
import { classById, getDrawings, getState, needDrawings, onDrawings, subscribe } from "./store.js";

const MIN_DRAWINGS = 10; // before an accuracy is worth stating
const MAX_DRAWINGS = 3; // of each sign in a mix-up

const nameOf = (id) => (id === null ? "none of your signs" : signName(classById(id).name));
const mixupsOf = ({ confusions }) =>
  confusions.filter(({ label, prediction }) => classById(label) && (prediction === null || classById(prediction)));

function renderMixup({ label, prediction, count, total, wrong, right }) {
  const images = (drawings) => h("span", { class: "thumbnails" }, drawings.map((one) => thumbnail(one, "")));
  const text = h("span", {}, nameOf(label), " recognised as ", nameOf(prediction), h("span", { class: "quiet" }, `${count} of ${total}`));
  return h("li", {}, images(wrong), text, images(right));
}

function renderTable(part, mixups, field) {
  const involved = new Set(mixups.flatMap(({ label, prediction }) => [label, prediction]));
  const ids = getState().classes.map(({ id }) => id).filter((id) => involved.has(id));
  const cell = (label, id) => {
    const count = mixups.find((one) => one.label === label && one.prediction === id)?.count;
    return h("td", { class: label === id ? "hit" : count && "miss" }, label === id ? classById(id)[field]?.hits : count);
  };
  const columns = involved.has(null) ? [...ids, null] : ids;
  const header = columns.map((id) => h("th", { scope: "col" }, id === null ? "none" : nameOf(id)));
  const rows = ids.map((id) => h("tr", {}, h("th", { scope: "row" }, nameOf(id)), columns.map((other) => cell(id, other))));
  byId(`${part}-table`).replaceChildren(h("tr", {}, h("th", { class: "corner" }, "drawn ↓ recognised →"), header), ...rows);
}

/** The accuracy of examples or tests, and their mix-ups: the worst first, each with drawings of both signs. */
function renderPart(part, result, field) {
  const mixups = mixupsOf(result);
  byId(`${part}-results`).hidden = !(result.accuracy?.total >= MIN_DRAWINGS);
  byId(`${part}-accuracy`).textContent = result.accuracy ? accuracy(result.accuracy) : "";
  byId(`${part}-details`).hidden = !mixups.length;
  const newest = (drawings) => drawings.slice(-MAX_DRAWINGS);
  renderList(byId(`${part}-mixups`), mixups.map((one) => ({
    ...one, id: `${one.label} ${one.prediction}`,
    wrong: newest(getDrawings().filter(({ id }) => one.drawings.includes(id))), right: classById(one.prediction)?.newest ?? [],
  })), renderMixup);
  renderTable(part, mixups, field);
}

function describeCurve(curve) {
  const [first, last] = [curve[0], curve.at(-1)];
  const drawings = last.drawings === 1 ? "one drawing" : `${last.drawings} drawings`;
  const start = first.drawings ? `with ${first.drawings}` : "from fonts alone";
  const [before, after] = [percent(first.accuracy), percent(last.accuracy)];
  return `With ${drawings} per sign it recognises ${after} of the rest; ${start}, ${before}.`;
}

function render() {
  const state = getState();
  if (!state) return;
  byId("results").classList.toggle("empty-set", !state.ready);
  byId("updating").hidden = state.up_to_date;
  renderPart("train", state, "accuracy");
  renderPart("test", state.test, "test_accuracy");
  byId("curve").textContent = state.learning_curve.length > 1 ? describeCurve(state.learning_curve) : "";
}

export function startResults() {
  byId("results").addEventListener("toggle", () => needDrawings("results", byId("results").open));
  subscribe(render);
  onDrawings(render);
}
