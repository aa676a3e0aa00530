// The Test tab: ten signs to draw, and a result. Drawings of a test are counted apart from the examples.

import { post } from "./api.js";
import { addTab, isTabOpen, pad, setTask } from "./bench.js";
import { announce, attempt, byId, count, h, isolate, onClick, renderList, setEnabled, signName, thumbnail } from "./dom.js";
import { toast } from "./history.js";
import { submit } from "./outbox.js";
import { classById, getAuthor, getState, mutate, subscribe } from "./store.js";

const ROUNDS = 10;
const BUTTONS = { start: "Start", draw: "Done", miss: "Next", end: "Test again" }; // the main one in each phase

let phase = "start";
let target = null; // id of the sign to draw
let rounds = []; // {id, class, drawing, prediction, correct} of this test
let isBusy = false; // a question or a drawing is on its way

const hits = () => rounds.filter(({ correct }) => correct).length;
const nameOf = (id) => classById(id)?.name ?? "";

async function run(action) {
  if (isBusy) return;
  isBusy = true;
  render();
  await attempt("bench-error", action);
  isBusy = false;
  render();
}

async function ask() {
  pad.reset();
  if (!getState().ready) throw new Error("A test needs two signs. Add them under Teach.");
  if (rounds.length === ROUNDS) {
    phase = "end";
    return announce(`${hits()} of ${count(ROUNDS, "drawing")} recognised.`);
  }
  target = (await post("/api/test/next")).class;
  phase = "draw";
  byId("pad").focus({ preventScroll: true });
  announce(`Draw ${nameOf(target)}.`);
}

function start() {
  rounds = [];
  return ask();
}

async function finish() {
  if (pad.isEmpty()) return;
  const sample = { class: target, drawing: pad.drawing(), split: "test", author: getAuthor() };
  const answer = await submit(sample).catch(() => null); // then a notice at the top gives the reason
  if (answer) rounds.push({ ...sample, ...answer });
  if (answer?.correct !== false) return ask();
  phase = "miss";
}

/** The last drawing was not meant like that: it does not count. */
async function discard() {
  await mutate("/api/drawings/move", { drawings: [rounds.pop().id], class: null });
  return ask();
}

async function teachLast() {
  const { class: classId, drawing, author } = rounds.at(-1);
  await submit({ class: classId, drawing, author, split: "train" });
  toast(`Saved to ${isolate(nameOf(classId))}.`, { undo: true });
  return ask();
}

function describeOutcome() {
  const last = rounds.at(-1);
  if (!last || phase === "start" || phase === "end") return [];
  const [sign, other] = [signName(nameOf(last.class)), classById(last.prediction)?.name];
  if (last.correct) return ["✓ Right: ", sign];
  if (last.correct === null) return ["Saved, but not counted: ", sign, " has no examples yet."];
  return ["✗ Missed ", sign, ": it ", ...(other ? ["recognised ", signName(other), "."] : ["did not recognise your drawing."])];
}

function render() {
  if (!isTabOpen("test")) return;
  const isRunning = phase === "draw" || phase === "miss";
  const result = phase === "end" ? [`${hits()} of ${ROUNDS} recognised`] : ["Test it"];
  setTask(...(phase === "draw" ? ["Draw ", signName(nameOf(target))] : phase === "miss" ? ["Not recognised"] : result));
  byId("quiz-start").hidden = phase !== "start";
  byId("quiz-progress").hidden = !isRunning;
  byId("quiz-count").textContent = `${rounds.length + (phase === "draw")} of ${ROUNDS}`;
  byId("quiz-bar").value = rounds.length;
  byId("quiz-outcome").className = { true: "right", false: "wrong" }[rounds.at(-1)?.correct] ?? "quiet";
  byId("quiz-outcome").replaceChildren(...describeOutcome());
  byId("quiz-done").textContent = BUTTONS[phase];
  byId("quiz-done").dataset.phase = phase;
  byId("quiz-done").setAttribute("aria-busy", isBusy);
  setEnabled(byId("quiz-done"), !isBusy && (phase !== "draw" || !pad.isEmpty()));
  byId("quiz-skip").hidden = phase !== "draw";
  for (const id of ["quiz-slip", "quiz-teach"]) byId(id).hidden = phase !== "miss";
  renderList(byId("quiz-sheet"), phase === "end" ? rounds.map(({ id, class: sign, correct }) => ({ id, name: nameOf(sign), correct })) : [],
    ({ id, name, correct }) => h("li", { class: correct ? "right" : "wrong" }, thumbnail({ id }, ""), correct ? "✓ " : "✗ ", signName(name)));
}

export function startQuiz() {
  const submitPad = () => run({ start, draw: finish, miss: ask, end: start }[phase]);
  addTab("test", { isStored: false, change: render, submit: () => phase === "end" || submitPad() });
  onClick({
    "quiz-done": submitPad, "quiz-skip": () => run(ask), "quiz-slip": () => run(discard), "quiz-teach": () => run(teachLast),
  });
  subscribe(() => {
    if (phase === "draw" && !classById(target)) run(ask); // it was deleted
    else render();
  });
}
