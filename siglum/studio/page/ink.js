// "What the network sees": the normalised ink, the heat map over it, and similar drawings.

import { byId, h, isolate, renderList, setEnabled, signName } from "./dom.js";
import { percent } from "./format.js";
import { thumbnail } from "./drawings.js";
import { classById } from "./store.js";

const NO_INK = ["Your drawing is cropped, scaled and centred."];
const PALE = 0.45; // of the ink under a heat map, so that the heat is the strongest colour
const HEAT = 0.9; // opacity where it is hottest

let pixels = null; // {ink, heatmap, size} of the prediction in view

function themeColour(name) {
  const probe = h("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const channels = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  probe.remove();
  return channels;
}

const decode = (base64) => base64 && Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** Paint the ink in the colours of the present theme. */
export function repaintInk() {
  const context = byId("ink").getContext("2d");
  context.clearRect(0, 0, byId("ink").width, byId("ink").height);
  if (!pixels) return;
  const { ink, heatmap, size } = pixels;
  const [paper, pen, hot] = ["--card", "--ink", "--accent"].map(themeColour);
  const mix = (from, to, share) => from.map((value, channel) => value + share * (to[channel] - value));
  const image = new ImageData(size, size);
  for (let index = 0; index < size * size; index++) {
    const colour = mix(paper, pen, (ink[index] / 255) * (heatmap ? PALE : 1));
    image.data.set([...(heatmap ? mix(colour, hot, (HEAT * heatmap[index]) / 255) : colour), 255], 4 * index);
  }
  byId("ink").width = byId("ink").height = size;
  context.putImageData(image, 0, 0);
}

/** What happens to the best answer without the most important part of the ink. */
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
