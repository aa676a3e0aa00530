// What was read, in words and bars; the same card for the pad and for a character of a photo.

import { keyed, make, sign } from "./dom.js";
import { percent } from "./words.js";
import { classOf, now } from "./state.js";

/** Make a card of answers; `onpick(class)` when one of them is said to be right. */
export function createAnswer(root, { onpick }) {
  const headline = make("p", { class: "headline" });
  const bars = make("ul", { class: "bars", "aria-label": "The likeliest signs" });
  const note = make("p", { class: "quiet note" });
  root.append(headline, note, bars);

  function head(...parts) {
    headline.replaceChildren(...parts);
  }

  function show(result) {
    const names = result.set.map((id) => classOf(id)?.name).filter((name) => name !== undefined);
    const answers = result.answers.filter(({ class: id }) => classOf(id));
    root.dataset.kind = result.none ? "none" : names.length > 1 ? "several" : "one";
    if (!answers.length) {
      head(make("span", { class: "words" }, result.empty ? "No ink yet." : "Two signs must be known before it can compare."));
    } else if (result.none) {
      head(make("span", { class: "mark", "aria-hidden": "true" }, "?"), words("None of your signs"));
    } else {
      const [best] = answers;
      const share = make("span", { class: "share" }, percent(best.probability));
      head(make("span", { class: "large" }, sign(best.name)), share);
    }
    keyed(bars, answers, ({ class: id }) => id, bar, fill);
    note.replaceChildren(...remark(result, names));
  }

  const words = (text) => make("span", { class: "words" }, text);

  function bar({ class: id }) {
    const button = make(
      "button",
      { type: "button", onclick: () => onpick(id) },
      make("span", { class: "name" }),
      make("span", { class: "track" }, make("i")),
      make("span", { class: "number" }),
    );
    return make("li", {}, button);
  }

  function fill(item, { name, probability }) {
    const [label, track, number] = item.firstElementChild.children;
    if (label.textContent !== name) label.replaceChildren(sign(name));
    track.firstElementChild.style.width = `${100 * probability}%`;
    number.textContent = percent(probability);
    item.firstElementChild.title = "It was this";
  }

  function remark(result, names) {
    if (result.none && result.answers.length) return ["Nearest to it, if it were one of them:"];
    if (names.length < 2 || !result.answers.length) return [];
    const listed = names.flatMap((name, place) => [place ? (place === names.length - 1 ? " or " : ", ") : "", sign(name)]);
    return ["It may be ", ...listed, "."];
  }

  return {
    show,
    /** Say something else instead of an answer. */
    say(...parts) {
      root.dataset.kind = "words";
      head(...parts.map((part) => (typeof part === "string" ? words(part) : part)));
      bars.replaceChildren();
      note.replaceChildren();
    },
  };
}

/** An answer as one sentence, for who listens. */
export function spoken(result) {
  const answers = result.answers.filter(({ class: id }) => classOf(id));
  if (result.empty) return "No ink.";
  if (!answers.length) return now()?.classes.length ? "No answer." : "No signs yet.";
  const [best, next] = answers;
  if (result.none) return `None of your signs. Nearest: ${best.name}.`;
  const second = next && next.probability >= 0.05 ? `, or ${next.name}, ${percent(next.probability)}` : "";
  return `${best.name}, ${percent(best.probability)}${second}.`;
}
