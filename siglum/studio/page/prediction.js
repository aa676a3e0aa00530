// A prediction as a card: a headline, and the most probable signs as bars.

import { byId, h, renderList, signName } from "./dom.js";
import { percent } from "./format.js";
import { classById, getState } from "./store.js";

const words = (...parts) => h("span", { class: "words" }, parts);
const currentCandidates = (prediction) => prediction.candidates.filter(({ class: id }) => classById(id));

/** Names as "α, β or γ". */
function listNames(names) {
  return names.flatMap((name, index) => {
    const separator = index === names.length - 1 ? " or " : ", ";
    return index ? [separator, signName(name)] : [signName(name)];
  });
}

function headline({ rejected, prediction_set: ids }, [best, next]) {
  if (!best) return [words(`${getState().classes.length > 1 ? "Teach" : "Add"} a second sign, then it can tell them apart.`)];
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
  const { rejected, prediction_set: ids } = prediction;
  const candidates = currentCandidates(prediction);
  byId("prediction").dataset.kind = rejected ? "rejected" : ids.length > 1 ? "unsure" : "sure";
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

/** A prediction as one sentence, for screen readers. */
export function describePrediction(prediction) {
  const [best, next] = currentCandidates(prediction);
  if (prediction.empty) return "No sign found.";
  if (!best) return getState()?.classes.length ? "No answer yet." : "No signs yet.";
  if (prediction.rejected) return `Not one of your signs. Closest: ${best.name}.`;
  const second = next?.probability >= 0.05 ? `, or ${next.name}, ${percent(next.probability)}` : "";
  return `${best.name}, ${percent(best.probability)}${second}.`;
}
