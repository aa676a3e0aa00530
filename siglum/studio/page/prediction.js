// A prediction: a headline, the most probable signs as buttons, and what the network sees.

import { byId, h, headline, isolate, MAX_NAMES, percent, renderList, signName, thumbnail, words } from "./dom.js";
import { classById, getState } from "./store.js";

const NO_INK = ["Your drawing is cropped, scaled and centred."];
const PALE = 0.45; // of the ink under a heat map, so that the heat is the strongest colour
const HEAT = 0.9; // opacity where it is hottest

let pixels = null; // {ink, heatmap, size} of the prediction in view

const MIN_SHARE = 0.01; // below which a probability is not stated

function describe(candidates, names, rejected) {
  if (!getState().classes.length) return [words("What is it?")];
  if (!candidates.length) return [words("Teach it a second sign, then it can tell them apart.")];
  return headline(candidates, names, rejected && "Not one of your signs.");
}

/** Show a prediction; `onpick(class)` is called when the user picks an answer. `sign` is the active one, if any. */
export function showAnswer({ candidates, prediction_set: ids, rejected }, sign, onpick) {
  const possible = candidates.filter(({ class: id }) => classById(id));
  const names = ids.map((id) => classById(id)?.name).filter(Boolean);
  const isUnsure = !rejected && names.length > 1;
  byId("prediction").dataset.kind = !possible.length ? "none" : rejected ? "rejected" : isUnsure ? "unsure" : "sure";
  byId("headline").replaceChildren(...describe(possible, names, rejected));
  const first = sign?.id ?? (rejected || isUnsure ? null : possible[0]?.class);
  const choices = possible.filter(({ class: id }) => id !== first);
  if (first) choices.unshift({ class: first, name: classById(first).name });
  const items = choices.map(({ class: id, name, probability }) => ({
    id, name, kind: id === first ? "primary" : isUnsure && names.length <= MAX_NAMES && ids.includes(id) ? "equal" : "",
    share: !rejected && probability >= MIN_SHARE && percent(probability),
  }));
  renderList(byId("choices"), items, ({ id, name, kind, share }) => h("li", {},
    h("button", { type: "button", class: kind, title: `Save it as ${name}`, onclick: () => onpick(id) },
      kind === "primary" && "Save to ", signName(name), share && h("span", { class: "quiet" }, share))));
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
  if (remaining >= 0.5) return ["No single part decides: without the reddest one it would still be ", signName(name), "."];
  return ["Without the reddest part, ", signName(name), ` would drop to ${percent(remaining)}.`];
}

/** Show what a prediction is based on; without one, clear it. */
export function renderInput(prediction = { notes: NO_INK, candidates: [], similar: [] }) {
  const { heatmap, ink, notes, similar, size } = prediction;
  pixels = ink ? { ink: decode(ink), heatmap: decode(heatmap), size } : null;
  repaintInk();
  byId("notes").replaceChildren(...notes.map((text) => h("li", {}, text)));
  byId("heat-scale").hidden = !heatmap;
  byId("heat-text").replaceChildren(...explainHeatmap(prediction));
  byId("similar-title").hidden = !similar.length;
  renderList(byId("similar"), similar, ({ id, class: classId, photo }) => {
    const name = classById(classId)?.name;
    return h("li", {}, thumbnail({ id, photo }, name ? `a drawing of ${isolate(name)}` : "a drawing"));
  });
}
