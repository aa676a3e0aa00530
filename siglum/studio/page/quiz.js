// The Test view: draw what is asked for; the results are counted apart from the examples.

import { post } from "./api.js";
import { confusionMatrix } from "./confusion.js";
import { announce, attempt, byId, h, isEnabled, onClick, renderList, setEnabled, signName } from "./dom.js";
import { accuracy, count } from "./format.js";
import { submit } from "./outbox.js";
import { createPad } from "./pad.js";
import { classById, getState, subscribe } from "./store.js";
import { getAuthor } from "./teach.js";

export const quizPad = createPad(byId("quiz-pad"), { announce });

let target = null; // id of the sign to draw
let isBusy = false; // a question or a drawing is on its way

function setBusy(busy, next = null) {
  [isBusy, target] = [busy, next];
  setEnabled(byId("quiz-done"), !busy && target !== null);
  setEnabled(byId("quiz-skip"), !busy);
}

async function ask() {
  if (isBusy) return;
  setBusy(true);
  let next = null;
  await attempt("quiz-error", async () => {
    if (!getState().ready) throw new Error("A test needs two signs. Add them under Teach.");
    next = await post("/api/test/next");
    announce(`Draw ${next.name}.`);
  });
  byId("quiz-title").replaceChildren(...(next ? ["Draw ", signName(next.name)] : ["Test it"]));
  setBusy(false, next?.class ?? null);
}

async function finish() {
  if (quizPad.isEmpty() || !isEnabled(byId("quiz-done"))) return;
  const sample = { class: target, drawing: quizPad.drawing(), split: "test", author: getAuthor() };
  setBusy(true);
  quizPad.reset();
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
  const instruction = "Draw the sign it asks for. This is a test: it does not learn from it.";
  byId("quiz-accuracy").textContent = rate ? accuracy(rate) : instruction;
  byId("quiz-rate").hidden = !rate;
  for (const bound of ["low", "high"]) byId("quiz-rate").style.setProperty(`--${bound}`, rate?.[bound] ?? 0);
  byId("quiz-rate").style.setProperty("--share", rate ? rate.hits / rate.total : 0);
}

function renderMatrices({ accuracy: rate, classes, confusions, test }) {
  const names = classes.map(({ name }) => name);
  const train = { accuracy: rate, confusions };
  for (const [id, part, field] of [["test", test, "test_accuracy"], ["train", train, "accuracy"]]) {
    const totals = classes.map((one) => [one.id, one[field]?.total ?? 0]);
    const matrix = () => confusionMatrix(part.confusions, new Map(totals));
    byId(`${id}-results`).hidden = !part.accuracy;
    renderList(byId(`${id}-matrix`), [{ id, confusions: part.confusions, totals, names }], matrix);
  }
  byId("train-accuracy").textContent = rate ? accuracy(rate) : "";
}

function renderPeople({ authors, classes }) {
  const named = authors.filter(({ name }) => name);
  byId("people").hidden = !named.length || authors.length < 2;
  byId("people-count").textContent = `${count(named.length, "person", "people")}. Under each sign: drawings per sign.`;
  byId("people-signs").replaceChildren(...["name", "examples", "tests", "recognised without their own examples",
    ...classes.map(({ name }) => signName(name))].map((heading) => h("th", { scope: "col" }, heading)));
  byId("people-rows").replaceChildren(...authors.map(({ name, train, test, accuracy: rate, classes: counts }) => {
    const share = rate ? `${rate.hits} of ${rate.total}` : "–";
    const numbers = [train, test, share, ...classes.map(({ id }) => counts[id] ?? 0)];
    return h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, name || "no name")),
      numbers.map((value) => h("td", { class: "number" }, String(value))));
  }));
}

/** Show the results, and ask for a sign if none is asked for; called when the view opens, too. */
export function renderQuiz() {
  const state = getState();
  if (!state || byId("view-test").hidden) return;
  renderTally(state.test);
  renderMatrices(state);
  renderPeople(state);
  if (!classById(target)) ask();
}

/** Handle undo, redo or clear; false if there is nothing to do on the quizPad. */
export function handleQuizKey(action) {
  if (!{ undo: quizPad.canUndo(), redo: quizPad.canRedo(), clear: !quizPad.isEmpty() }[action]) return false;
  quizPad[action]();
  return true;
}

export function startQuiz() {
  byId("quiz-skip").addEventListener("click", () => {
    if (!isBusy) quizPad.reset();
    ask();
  });
  onClick({ "quiz-done": finish, "quiz-undo": quizPad.undo, "quiz-clear": quizPad.clear });
  byId("quiz-pad").addEventListener("keydown", ({ key }) => {
    if (key === "Enter") finish();
  });
  subscribe(renderQuiz);
}
