// Check yourself: signs are asked for, drawn, and counted apart from what is taught.

import { byId, make, said, sign, tell } from "./dom.js";
import { writer } from "./keeping.js";
import { matrix } from "./matrix.js";
import { createPad } from "./pad.js";
import { onSamples, samples } from "./samples.js";
import { ask } from "./server.js";
import { classOf, now, onState } from "./state.js";
import { keep } from "./unsent.js";
import { count, rate } from "./words.js";

let pad = null;
let asked = null; // id of the sign that is to be drawn

function build() {
  byId("view-check").replaceChildren(
    make("div", { class: "bench" },
        make("h1", { id: "check-title", class: "task" }, "Check yourself"),
        make("div", { class: "paper" },
          make("canvas", { id: "quiz-pad", class: "pad", tabindex: "0", role: "application",
            "aria-label": "Pad for the quiz", "aria-roledescription": "drawing pad",
            "aria-describedby": "pad-keys" })),
        make("div", { class: "under" }, make("div", { class: "tools" },
          make("button", { type: "button", id: "quiz-done", class: "main", onclick: done }, "Done"),
          make("button", { type: "button", onclick: () => pad.undo() }, "Undo"),
          make("button", { type: "button", onclick: () => pad.clear() }, "Clear"),
          make("button", { type: "button", onclick: next }, "Skip")),
        make("div", { id: "quiz-said", class: "said", role: "alert" })),
      make("div", { class: "card answer" },
        make("h2", {}, "How well it reads you"),
        make("div", { id: "outcome" }),
        make("div", { id: "tally" }),
        make("div", { id: "matrices" }))),
    make("div", { id: "writers" }));
  pad = createPad(byId("quiz-pad"), { onchange: () => {}, onlift: () => {}, say: tell });
  byId("quiz-pad").addEventListener("keydown", (event) => {
    if (event.key === "Enter") done();
  });
}

function complain(error = null) {
  byId("quiz-said").replaceChildren(...(error ? [said(error.message)] : []));
}

async function next() {
  pad.reset();
  complain();
  asked = null;
  byId("quiz-done").disabled = true;
  if (!now()?.ready) {
    byId("check-title").replaceChildren("Check yourself");
    complain(new Error("A quiz needs two signs of which something is known. Name or draw them first."));
    return;
  }
  try {
    const { class: id, name } = await ask("/api/quiz");
    asked = id;
    byId("check-title").replaceChildren("Draw ", sign(name));
    tell(`Draw ${name}.`);
  } catch (error) {
    byId("check-title").replaceChildren("Check yourself");
    complain(error);
  }
  byId("quiz-done").disabled = !asked;
}

async function done() {
  if (pad.empty || !asked) return;
  const sample = { class: asked, drawing: pad.drawing(), part: "quiz", writer: writer() };
  const { strokes } = sample.drawing;
  asked = null;
  byId("quiz-done").disabled = true;
  pad.reset();
  byId("check-title").replaceChildren("One moment");
  try {
    judge(sample.class, await keep(sample));
    await next();
  } catch (error) {
    if (pad.empty) pad.reset({ strokes });
    asked = sample.class;
    byId("quiz-done").disabled = false;
    byId("check-title").replaceChildren("Draw ", sign(classOf(asked)?.name ?? ""));
    complain(error);
  }
}

function judge(meant, { read, right }) {
  const [was, name] = [classOf(read)?.name, classOf(meant)?.name ?? ""];
  const instead = was ? [" was read as ", sign(was), "."] : [" was read as none of your signs."];
  const words = right ? ["✓ ", sign(name), " was read as it was meant."] : ["✗ ", sign(name), ...instead];
  byId("outcome").replaceChildren(make("p", { class: right ? "right" : "wrong" }, words));
  tell(right ? `${name}: right.` : `${name} was read as ${was ?? "none of your signs"}.`);
}

/** A rate as a track with its interval as a band. */
function scale({ hits, total, low, high }) {
  const [band, mark] = [make("i"), make("b")];
  band.style.left = `${100 * low}%`;
  band.style.width = `${100 * (high - low)}%`;
  mark.style.left = `${(100 * hits) / total}%`;
  return make("div", { class: "rate", "aria-hidden": "true" }, band, mark);
}

function tally({ right }) {
  if (!right) {
    return [make("p", {}, "You are asked for a sign, and draw it. What it is read as is counted, and never learnt from.")];
  }
  return [
    make("p", { class: "finding" }, `${rate(right)}.`),
    scale(right),
    make("div", { class: "ends quiet" }, make("span", {}, "0"), make("span", {}, "100\u00a0%")),
    make("p", { class: "quiet" }, "The band holds the true rate in 95 of 100 such quizzes."),
  ];
}

function matrices(state) {
  const parts = [];
  const counts = (part) => new Map(state.classes.filter((one) => one[part]).map((one) => [one.id, one[part]]));
  if (state.quiz.right) {
    parts.push(make("section", {}, make("h2", {}, "Drawn for the quiz"),
      matrix("quiz", state.quiz.confusions, counts("quiz"), "Choose a number to see the drawings.")));
  }
  if (state.right) {
    parts.push(make("section", {}, make("h2", {}, "Taught, each left out of what is learnt"),
      make("p", {}, `${rate(state.right)}.`),
      matrix("taught", state.confusions, counts("taught"), "Choose a number to see the drawings.")));
  }
  return parts;
}

function writers(state) {
  const known = state.writers.filter(({ name }) => name);
  if (!known.length || state.writers.length < 2) return [];
  const ids = state.classes.map(({ id }) => id);
  const drawn = (name, id) => samples().filter((one) => one.writer === name && one.class === id).length;
  const row = ({ name, taught, quiz, right }) => make("tr", {},
    make("th", { scope: "row" }, make("bdi", {}, name || "nobody named")),
    make("td", { class: "number" }, String(taught)),
    make("td", { class: "number" }, String(quiz)),
    make("td", {}, right ? `${rate(right)}` : "–"),
    ids.map((id) => make("td", { class: "number" }, String(drawn(name, id) || "·"))));
  return [
    make("h2", {}, "Who drew"),
    make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Who drew" },
      make("table", { class: "writers" },
        make("thead", {}, make("tr", {}, ["drawn by", "taught", "quiz", "read by what the others taught"]
          .map((text) => make("th", { scope: "col" }, text)),
          ids.map((id) => make("th", { scope: "col" }, sign(classOf(id).name))))),
        make("tbody", {}, state.writers.map(row)))),
    make("p", { class: "quiet" }, `${count(known.length, "writer")}. Under each sign: drawings of it, taught and quiz.`),
  ];
}

function render() {
  const state = now();
  if (!state || byId("view-check").hidden) return;
  byId("tally").replaceChildren(...tally(state.quiz));
  const cell = document.activeElement?.dataset.cell;
  byId("matrices").replaceChildren(...matrices(state));
  if (cell) byId("matrices").querySelector(`[data-cell="${cell}"]`)?.focus();
  byId("writers").replaceChildren(...writers(state));
}

/** Ctrl-Z and its like, for this pad. */
export function quizKey(key) {
  pad[key]();
  return true;
}

export const repaintQuiz = () => pad?.repaint();

/** The view is opened: ask, if nothing is asked yet. */
export function openCheck() {
  render();
  if (!asked || !classOf(asked)) next();
}

export function startCheck() {
  build();
  onState(render);
  onSamples(render);
}
