// The Test view: draw what is asked for; the results are counted apart from the examples.

import { post } from "./api.js";
import { confusionMatrix } from "./confusion.js";
import { announce, byId, h, isEnabled, onClick, replace, setEnabled, showError, signName } from "./dom.js";
import { accuracy, count } from "./format.js";
import { submit } from "./outbox.js";
import { createPad } from "./pad.js";
import { classById, getState, subscribe } from "./store.js";
import { getAuthor } from "./teach.js";

const pad = createPad(byId("quiz-pad"), { announce });

let target = null; // id of the sign to draw
let isBusy = false; // a question or a drawing is on its way

function setBusy(busy, next = null) {
  [isBusy, target] = [busy, next];
  setEnabled(byId("quiz-done"), !busy && target !== null);
  setEnabled(byId("quiz-skip"), !busy);
}

/** Ask for the next sign. */
async function ask() {
  if (isBusy) return;
  setBusy(true);
  let next = null;
  try {
    if (!getState().ready) throw new Error("A test needs two signs. Add them under Teach.");
    next = await post("/api/test/next");
    showError("quiz-error");
    announce(`Draw ${next.name}.`);
  } catch (error) {
    showError("quiz-error", error);
  }
  byId("quiz-title").replaceChildren(...(next ? ["Draw ", signName(next.name)] : ["Test it"]));
  setBusy(false, next?.class ?? null);
}

function skip() {
  if (isBusy) return;
  pad.reset();
  ask();
}

async function finish() {
  if (pad.isEmpty() || !isEnabled(byId("quiz-done"))) return;
  const sample = { class: target, drawing: pad.drawing(), split: "test", author: getAuthor() };
  setBusy(true);
  pad.reset();
  byId("quiz-title").replaceChildren("One moment…");
  try {
    showOutcome(sample.class, await submit(sample));
  } catch {
    byId("quiz-outcome").replaceChildren(); // the notice at the top gives the reason
  }
  setBusy(false);
  ask();
}

function showOutcome(label, { prediction, correct: isRight }) {
  const [name, other] = [classById(label)?.name ?? "", classById(prediction)?.name];
  const miss = other ? ["it recognised ", signName(other), "."] : ["it did not recognise your drawing."];
  const outcome = byId("quiz-outcome");
  outcome.className = isRight === null ? "quiet" : isRight ? "right" : "wrong";
  if (isRight) outcome.replaceChildren("✓ Right: ", signName(name));
  else if (isRight === false) outcome.replaceChildren("✗ Missed ", signName(name), ": ", ...miss);
  else outcome.replaceChildren("Saved, but not counted: ", signName(name), " has no examples yet.");
  announce(outcome.textContent);
}

function renderTally({ accuracy: rate }) {
  const { hits, total, low, high } = rate ?? { hits: 0, total: 1, low: 0, high: 0 };
  byId("quiz-accuracy").textContent = rate
    ? accuracy(rate)
    : "Draw the sign it asks for. This is a test: it does not learn from it.";
  byId("quiz-rate").hidden = !rate;
  Object.assign(byId("quiz-interval").style, { left: `${100 * low}%`, width: `${100 * (high - low)}%` });
  byId("quiz-mark").style.left = `${(100 * hits) / total}%`;
}

function matrices(state) {
  const totals = (field) => new Map(state.classes.flatMap((one) => (one[field] ? [[one.id, one[field].total]] : [])));
  const section = (heading, { accuracy: rate, confusions }, name, field) => rate && h("section", {},
    h("h2", {}, heading),
    h("p", {}, accuracy(rate)),
    confusionMatrix(name, confusions, totals(field)));
  return [
    section("This test", state.test, "test", "test_accuracy"),
    section("Your examples, cross-checked", state, "train", "accuracy"),
  ].filter(Boolean);
}

function people({ classes, authors }) {
  const named = authors.filter(({ name }) => name);
  if (!named.length || authors.length < 2) return [];
  const number = (value) => h("td", { class: "number" }, String(value));
  const row = ({ name, train, test, accuracy: rate, classes: counts }) => h("tr", {},
    h("th", { scope: "row" }, h("bdi", {}, name || "no name")),
    number(train),
    number(test),
    number(rate ? `${rate.hits} of ${rate.total}` : "–"),
    classes.map(({ id }) => number(counts[id] ?? 0)));
  const headings = ["name", "examples", "tests", "recognised without their own examples"];
  const columns = [...headings, ...classes.map(({ name }) => signName(name))].map((one) => h("th", { scope: "col" }, one));
  return [
    h("h2", {}, "People"),
    h("div", { class: "scrollable", tabindex: "0", role: "group", "aria-label": "People", "data-keep": "people" },
      h("table", { class: "people" }, h("thead", {}, h("tr", {}, columns)), h("tbody", {}, authors.map(row)))),
    h("p", { class: "quiet" }, `${count(named.length, "person", "people")}. Under each sign: drawings per sign.`),
  ];
}

/** Show the results, and ask for a sign if none is asked for; called when the view opens, too. */
export function renderQuiz() {
  const state = getState();
  if (!state || byId("view-test").hidden) return;
  renderTally(state.test);
  replace(byId("confusions"), ...matrices(state));
  replace(byId("people"), ...people(state));
  if (!classById(target)) ask();
}

/** Handle undo, redo or clear; false if there is nothing to do on the pad. */
export function handleQuizKey(action) {
  if (!{ undo: pad.canUndo(), redo: pad.canRedo(), clear: !pad.isEmpty() }[action]) return false;
  pad[action]();
  return true;
}

export const repaintQuiz = () => pad.repaint();

export function startQuiz() {
  onClick({ "quiz-done": finish, "quiz-skip": skip, "quiz-undo": pad.undo, "quiz-clear": pad.clear });
  byId("quiz-pad").addEventListener("keydown", ({ key }) => {
    if (key === "Enter") finish();
  });
  subscribe(renderQuiz);
}
