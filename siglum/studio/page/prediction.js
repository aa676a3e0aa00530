// A prediction: a headline, the most probable signs as bars, and what the network sees.

import { byId, h, isolate, renderList, setEnabled, signName, thumbnail } from "./dom.js";
import { percent } from "./format.js";
import { classById, getState } from "./store.js";

const NO_INK = ["Your drawing is cropped, scaled and centred."];
const PALE = 0.45; // of the ink under a heat map, so that the heat is the strongest colour
const HEAT = 0.9; // opacity where it is hottest

let pixels = null; // {ink, heatmap, size} of the prediction in view

const words = (...parts) => h("span", { class: "words" }, parts);
const currentCandidates = (prediction) => prediction.candidates.filter(({ class: id }) => classById(id));

function listNames(names) {
  return names.flatMap((name, index) => {
    const separator = index === names.length - 1 ? " or " : ", ";
    return index ? [separator, signName(name)] : [signName(name)];
  });
}

function headline({ rejected, prediction_set: ids }, [best, next]) {
  const verb = getState().classes.length > 1 ? "Teach" : "Add";
  if (!best) return [words(`${verb} a second sign, then it can tell them apart.`)];
  if (rejected) {
    const closest = [best, next].filter(Boolean).map(({ name }) => name);
    const mark = h("span", { class: "mark", "aria-hidden": "true" }, "?");
    return [mark, words("Not one of your signs."), h("span", { class: "quiet" }, "Closest: ", listNames(closest))];
  }
  const candidates = ids.map((id) => classById(id)?.name).filter(Boolean);
  if (candidates.length > 1) return [words("Not sure: ", ...listNames(candidates), "?")];
  return [h("span", { class: "large" }, signName(best.name)), h("span", { class: "share" }, percent(best.probability))];
}

/** Show a prediction; `onpick(class)` is called when the user picks one of the bars. */
export function showCard(prediction, onpick) {
  const candidates = currentCandidates(prediction);
  const kind = prediction.prediction_set.length > 1 ? "unsure" : "sure";
  byId("prediction").dataset.kind = prediction.rejected ? "rejected" : kind;
  byId("headline").replaceChildren(...headline(prediction, candidates));
  const items = candidates.map(({ class: id, name, probability }) => ({ id, name, probability }));
  renderList(byId("bars"), items, ({ id, name, probability }) => {
    const bar = h("i");
    bar.style.width = `${100 * probability}%`;
    return h("li", {}, h("button", { type: "button", title: "It is this one", onclick: () => onpick(id) },
      h("span", { class: "name" }, signName(name)),
      h("span", { class: "track" }, bar),
      h("span", { class: "number" }, percent(probability))));
  });
}

/** Show a message instead of a prediction. */
export function showCardMessage(...parts) {
  byId("prediction").dataset.kind = "message";
  byId("headline").replaceChildren(...parts.map((part) => (typeof part === "string" ? words(part) : part)));
  byId("bars").replaceChildren();
}

const decode = (base64) => base64 && Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** Paint the ink in the colours of the present theme. */
export function repaintInk() {
  const context = byId("ink").getContext("2d");
  context.clearRect(0, 0, byId("ink").width, byId("ink").height);
  if (!pixels) return;
  const { ink, heatmap, size } = pixels;
  const { accentColor, backgroundColor, color } = getComputedStyle(byId("ink"));
  const channels = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number);
  const [paper, pen, hot] = [backgroundColor, color, accentColor].map(channels);
  const mix = (from, to, share) => from.map((value, channel) => value + share * (to[channel] - value));
  const image = new ImageData(size, size);
  for (let index = 0; index < size * size; index++) {
    const colour = mix(paper, pen, (ink[index] / 255) * (heatmap ? PALE : 1));
    image.data.set([...(heatmap ? mix(colour, hot, (HEAT * heatmap[index]) / 255) : colour), 255], 4 * index);
  }
  byId("ink").width = byId("ink").height = size;
  context.putImageData(image, 0, 0);
}

function explainHeatmap({ candidates: [best], heatmap, probability_covered: remaining }) {
  const name = classById(best?.class)?.name;
  if (!heatmap || !name) return [];
  if (remaining >= 0.5) return ["Without the reddest part it would still be ", signName(name), "."];
  return ["Without the reddest part, ", signName(name), ` would drop to ${percent(remaining)}.`];
}

/** Show what a prediction is based on; without one, clear it. */
export function renderInput(prediction = { notes: NO_INK, candidates: [], similar: [] }) {
  const { candidates, heatmap, ink, notes, similar, size } = prediction;
  pixels = ink ? { ink: decode(ink), heatmap: decode(heatmap), size } : null;
  repaintInk();
  byId("notes").replaceChildren(...notes.map((text) => h("li", {}, text)));
  byId("heat-scale").hidden = !heatmap;
  byId("heat-text").replaceChildren(...explainHeatmap(prediction));
  setEnabled(byId("explain"), candidates.length > 0);
  byId("similar-title").hidden = !similar.length;
  renderList(byId("similar"), similar, ({ id, class: classId }) => {
    const name = classById(classId)?.name;
    return h("li", {}, thumbnail({ id }, name ? `a drawing of ${isolate(name)}` : "a drawing"));
  });
}
