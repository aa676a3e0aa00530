// How good is it? The accuracy of examples and tests, and the signs that are mixed up; the report has more.

import { accuracy, byId, h, percent, renderList, signName, thumbnail } from "./dom.js";
import { classById, getDrawings, getState, needDrawings, onDrawings, subscribe } from "./store.js";

const MIN_DRAWINGS = 10; // before an accuracy is worth stating
const MAX_DRAWINGS = 3; // of each sign in a mix-up

function renderMixup({ name, other, count, total, wrong, right }) {
  const images = (drawings) => h("span", { class: "thumbnails" }, drawings.map((one) => thumbnail(one, "")));
  const result = other ? signName(other) : "none of your signs";
  const text = h("span", {}, signName(name), " recognised as ", result, h("span", { class: "quiet" }, `${count} of ${total}`));
  return h("li", {}, images(wrong), text, images(right));
}

/** The accuracy of examples or tests, and their mix-ups: the worst first, each with drawings of both signs. */
function renderPart(part, { accuracy: rate, confusions }) {
  byId(`${part}-results`).hidden = !(rate?.total >= MIN_DRAWINGS);
  byId(`${part}-accuracy`).textContent = rate ? accuracy(rate) : "";
  renderList(byId(`${part}-mixups`), confusions.map(({ label, prediction, count, total, drawings }) => ({
    id: `${label} ${prediction}`, name: classById(label)?.name ?? "", other: classById(prediction)?.name, count, total,
    wrong: getDrawings().filter(({ id }) => drawings.includes(id)).slice(-MAX_DRAWINGS), right: classById(prediction)?.newest ?? [],
  })), renderMixup);
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
  renderPart("train", state);
  renderPart("test", state.test);
  byId("curve").textContent = state.learning_curve.length > 1 ? describeCurve(state.learning_curve) : "";
}

export function startResults() {
  byId("results").addEventListener("toggle", () => needDrawings("results", byId("results").open));
  subscribe(render);
  onDrawings(render);
}
