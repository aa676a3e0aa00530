// Check yourself: signs are asked for, drawn, and counted apart from what is taught.

import { able, byId, make, renew, said, sign, tell } from "./dom.js";
import { writer } from "./keeping.js";
import { matrix } from "./matrix.js";
import { createPad } from "./pad.js";
import { ask } from "./server.js";
import { classOf, now, onState } from "./state.js";
import { keep } from "./unsent.js";
import { count, rate } from "./words.js";

let pad = null;
let asked = null; // id of the sign that is to be drawn
let busy = false; // a question or a drawing is under way

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
          make("button", { type: "button", id: "quiz-skip", onclick: skip }, "Skip")),
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
  const box = byId("quiz-said");
  if (box.textContent !== (error?.message ?? "")) box.replaceChildren(...(error ? [said(error.message)] : []));
}

function begin() {
  busy = true;
  asked = null;
  able(byId("quiz-done"), false);
  able(byId("quiz-skip"), false);
}

function end(id) {
  busy = false;
  asked = id;
  able(byId("quiz-done"), asked !== null);
  able(byId("quiz-skip"), true);
}

/** Ask for a sign; what is on the pad stays. */
async function question() {
  if (busy) return;
  if (!now()?.ready) {
    end(null);
    byId("check-title").replaceChildren("Check yourself");
    complain(new Error("A quiz needs two signs of which something is known. Name or draw them first."));
    return;
  }
  begin();
  complain();
  try {
    const { class: id, name } = await ask("/api/quiz");
    byId("check-title").replaceChildren("Draw ", sign(name));
    tell(`Draw ${name}.`);
    end(id);
  } catch (error) {
    byId("check-title").replaceChildren("Check yourself");
    complain(error);
    end(null);
  }
}

function skip() {
  if (busy) return;
  pad.reset();
  question();
}

async function done() {
  if (pad.empty || busy || !asked) return;
  const sample = { class: asked, drawing: pad.drawing(), part: "quiz", writer: writer() };
  begin();
  pad.reset();
  byId("check-title").replaceChildren("One moment");
  try {
    judge(sample.class, await keep(sample));
  } catch {
    byId("outcome").replaceChildren(); // the head of the page says why, and what can be done
  }
  end(null);
  question();
}

function judge(meant, { read, right }) {
  const [was, name] = [classOf(read)?.name, classOf(meant)?.name ?? ""];
  const words = {
    true: ["✓ ", sign(name), " was read as it was meant."],
    false: ["✗ ", sign(name), ...(was ? [" was read as ", sign(was), "."] : [" was read as none of your signs."])],
    null: [sign(name), " is kept, but not judged: nothing is known of it yet."],
  }[right];
  const paragraph = make("p", { class: { true: "right", false: "wrong" }[right] ?? "quiet" }, words);
  byId("outcome").replaceChildren(paragraph);
  tell(paragraph.textContent);
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
  const judged = (part) => new Map(state.classes.filter((one) => one.judged[part]).map((one) => [one.id, one.judged[part]]));
  if (state.quiz.right) {
    parts.push(make("section", {}, make("h2", {}, "Drawn for the quiz"),
      matrix("quiz", state.quiz.confusions, judged("quiz"))));
  }
  if (state.right) {
    parts.push(make("section", {}, make("h2", {}, "Taught, each left out of what is learnt"),
      make("p", {}, `${rate(state.right)}.`),
      matrix("taught", state.confusions, judged("taught"))));
  }
  return parts;
}

function writers(state) {
  const known = state.writers.filter(({ name }) => name);
  if (!known.length || state.writers.length < 2) return [];
  const row = ({ name, taught, quiz, right, classes }) => make("tr", {},
    make("th", { scope: "row" }, make("bdi", {}, name || "nobody named")),
    make("td", { class: "number" }, String(taught)),
    make("td", { class: "number" }, String(quiz)),
    make("td", {}, right ? `${rate(right)}` : "–"),
    state.classes.map(({ id }) => make("td", { class: "number" }, String(classes[id] ?? "·"))));
  return [
    make("h2", {}, "Who drew"),
    make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Who drew", "data-stay": "writers" },
      make("table", { class: "writers" },
        make("thead", {}, make("tr", {}, ["drawn by", "taught", "quiz", "read by what the others taught"]
          .map((text) => make("th", { scope: "col" }, text)),
          state.classes.map(({ name }) => make("th", { scope: "col" }, sign(name))))),
        make("tbody", {}, state.writers.map(row)))),
    make("p", { class: "quiet" }, `${count(known.length, "writer")}. Under each sign: drawings of it, taught and quiz.`),
  ];
}

function render() {
  const state = now();
  if (!state || byId("view-check").hidden) return;
  byId("tally").replaceChildren(...tally(state.quiz));
  renew(byId("matrices"), ...matrices(state));
  renew(byId("writers"), ...writers(state));
  if (!classOf(asked)) question();
}

/** Ctrl-Z and its like, for this pad; says whether there was something to do. */
export function quizKey(key) {
  if (!{ undo: pad.canUndo, redo: pad.canRedo, clear: !pad.empty }[key]) return false;
  pad[key]();
  return true;
}

export const repaintQuiz = () => pad?.repaint();

/** The view is opened: ask, if nothing is asked yet. */
export const openCheck = render;

export function startCheck() {
  build();
  onState(render);
}
