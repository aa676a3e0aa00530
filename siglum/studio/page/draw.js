// The bench: the pad, and what is read while one draws.

import { createAnswer, spoken } from "./answer.js";
import { able, byId, isolated, keyed, make, said, sign, tell } from "./dom.js";
import { clearInk, showInk } from "./ink.js";
import { createPad } from "./pad.js";
import { thumb } from "./samples.js";
import { ask, Lost, onLost, send } from "./server.js";
import { classOf, now, onState } from "./state.js";
import { percent } from "./words.js";

const PAUSE = 1400; // ms without a pen after which a sign that is being taught is kept
const QUIET = 600; // ms without another answer after which an answer is spoken
const IDLE = 2000; // ms without a pen before news have the drawing read again
const BUSY = 429;
const [LEAST, MOST] = [20, 1000]; // ms between two questions while a pen is down
const STILL = 20; // ms without a point after which a pen that is down rests, and is not kept waiting
const EASY = 10; // ms: after an answer that took so long, the rest is as long; after slower ones by its square
const STORED = "siglum.pad";
const NO_INK = { answers: [], set: [], none: false, empty: true, evidence: [], nearest: [] };

const watchers = new Set();
let hand = null; // id of the sign that is being taught
let result = null; // the newest answer
let number = 0; // of the drawing on the pad: another one each time that the pad is begun anew
let noticed = false; // the card says what was done last
let busy = false;
let again = false;
let pausing = 0;
let speaking = 0;
let stilling = 0;
let idling = 0;
let spokenLast = ""; // what was or will be told of the drawing
let wake = () => {}; // ends the rest between two questions
let keepAs = () => {}; // what keeps the drawing as a sign

export const pad = createPad(byId("pad"), { onchange: changed, onlift: lifted, say: tell });
const answer = createAnswer(byId("answer"), { onpick: nameIt });

/** Tell who listens, once the answer rests, unless it was told. */
function speak(text) {
  if (text === spokenLast) return;
  spokenLast = text;
  clearTimeout(speaking);
  if (text) speaking = setTimeout(tell, QUIET, text);
}

/** Say what the drawing is, to be kept so by Enter or the button. */
function nameIt(id) {
  dontWait();
  byId("keep-name").value = classOf(id)?.name ?? "";
  byId("keep").querySelector("button").focus();
}

/** Set what keeps the drawing, and stop waiting for a pause to do it. */
export const keepBy = (action) => (keepAs = action);
export const dontWait = () => clearTimeout(pausing);

/** Which drawing is on the pad: it changes when another is begun. */
export const drawingNumber = () => number;

/** The best answer to what is on the pad, unless it is none of the signs. */
export const best = () => (result && !result.none && result.answers[0]) || null;

export const inHand = () => hand;
export const onHand = (watcher) => watchers.add(watcher);

/** Begin to teach a sign, or stop (null). */
export function takeInHand(id) {
  hand = classOf(id) ? id : null;
  clearTimeout(pausing);
  title();
  store();
  for (const watcher of watchers) watcher(hand);
  if (pad.empty) nothing();
  else forms();
  if (hand) byId("pad").focus({ preventScroll: true });
}

function title() {
  const one = classOf(hand);
  byId("task").replaceChildren(...(one ? ["Draw ", sign(one.name)] : ["Draw a sign"]));
  byId("teaching").hidden = !one;
  byId("ghost").hidden = !pad.empty || hand !== null;
}

function store() {
  try {
    const { strokes } = pad.drawing();
    sessionStorage.setItem(STORED, JSON.stringify({ strokes: pad.picture ? [] : strokes, hand }));
  } catch {
    // Without a store, a reload begins with an empty pad.
  }
}

function changed() {
  clearTimeout(pausing);
  byId("ghost").hidden = !pad.empty || hand !== null;
  able(byId("undo"), pad.canUndo);
  able(byId("redo"), pad.canRedo);
  able(byId("clear"), !pad.empty);
  if (!pad.drawingNow) store();
  clearTimeout(stilling);
  stilling = setTimeout(() => wake(), STILL);
  complain();
  if (pad.empty) nothing();
  else {
    forms();
    look();
  }
}

function lifted(type) {
  if (hand && byId("auto").checked && type !== "keys") {
    pausing = setTimeout(() => keepAs(hand), PAUSE);
  }
  wake();
  look(); // for a heat map, which is asked for only while no pen is down
}

/** Show errors near where they happened, or take them away. */
export function complain(error = null) {
  byId("said").replaceChildren(...(error ? [said(error.message)] : []));
}

/** Another drawing: what was known, typed or about to be told is of the one before. */
function anew() {
  number += 1;
  result = null;
  byId("keep-name").value = "";
  speak("");
}

/** What the card says while there is nothing on the pad. */
export function nothing(...parts) {
  anew();
  noticed = parts.length > 0;
  evidence(["What is drawn is cut out, brought to one size and laid in the middle of a square."]);
  clearInk(byId("ink"));
  byId("scale").hidden = true;
  byId("left").textContent = "";
  byId("nearest").replaceChildren();
  byId("nearest-title").hidden = true;
  able(byId("heat"), false);
  if (parts.length) answer.say(...parts);
  else if (now()?.classes.length) answer.say(hand ? "Draw it." : "Draw one of your signs.");
  else answer.say();
  forms();
}

/** Wait, for so many ms or until the pen is lifted. */
function rest(time) {
  return new Promise((done) => {
    const timer = setTimeout(done, time);
    wake = () => {
      clearTimeout(timer);
      done();
    };
  });
}

/** Ask what is on the pad: one question at a time, with rests, and the last state always. */
async function look() {
  again = true;
  if (busy) return;
  busy = true;
  while (again && !pad.empty) {
    again = false;
    const heat = byId("heat").getAttribute("aria-pressed") === "true" && !pad.drawingNow;
    const last = pad.lastPoint;
    const [asked, which] = [performance.now(), number];
    try {
      const found = await read(heat);
      if (which !== number) {
        again = true;
        continue;
      }
      show(found);
      const shown = performance.now();
      performance.clearMeasures("answer");
      performance.measure("answer", { start: last, end: shown });
      const moves = pad.drawingNow && shown - pad.lastPoint < STILL;
      if (moves) await rest(Math.min(Math.max(LEAST, (shown - asked) ** 2 / EASY), MOST));
    } catch (error) {
      if (error instanceof Lost) break;
      if (error.status !== BUSY) complain(error);
      else again = await new Promise((wake) => setTimeout(wake, 200, true));
    }
  }
  busy = false;
}

/** Ask again for what others taught, once the pen rests: a room full of pages has news all the time. */
function lookLater() {
  const wait = IDLE * (1 + Math.random());
  idling ||= setTimeout(() => {
    idling = 0;
    if (pad.drawingNow || performance.now() - pad.lastPoint < IDLE) lookLater();
    else look();
  }, wait);
}

async function read(heat) {
  if (pad.picture && !pad.drawingNow) {
    if (!heat || !pad.picture.found.answers.length) return pad.picture.found;
    const { characters } = await send("/api/picture?heat=true", pad.picture.file);
    return characters.length === 1 ? characters[0] : pad.picture.found;
  }
  return ask("/api/recognise", heat ? { drawing: pad.drawing(), heat } : { drawing: pad.drawing() });
}

function show(found) {
  result = found;
  if (now()?.classes.length) answer.show(found);
  if (found.ink) showInk(byId("ink"), found);
  byId("scale").hidden = !found.heat;
  byId("left").replaceChildren(...(found.heat ? missed(found) : []));
  able(byId("heat"), found.answers.length > 0);
  evidence(found.evidence);
  byId("nearest-title").hidden = !found.nearest.length;
  keyed(byId("nearest"), found.nearest, ({ id }) => id, nearby, () => {});
  forms();
  speak(spoken(found));
}

/** One of the drawings that look most alike to the network. */
function nearby({ id, class: of }) {
  const name = classOf(of)?.name;
  return make("li", {}, thumb(id, name ? `a drawing of ${isolated(name)}` : "a drawing"));
}

/** What covering the reddest piece of ink leaves of the best answer. */
function missed({ answers: [best], heat_left: left }) {
  const one = best && classOf(best.class);
  return one ? ["With the reddest piece covered, ", sign(one.name), ` has ${percent(left)}.`] : [];
}

function evidence(lines) {
  byId("evidence").replaceChildren(...lines.map((text) => make("li", {}, text)));
}

function forms() {
  const classes = now()?.classes ?? [];
  byId("first").hidden = classes.length > 1;
  byId("answer-title").hidden = classes.length < 2;
  byId("below").hidden = !classes.length;
  byId("first-label").textContent = classes.length ? "Name a second sign" : "Name your first two signs";
  byId("first-names").placeholder = classes.length ? "β" : "α β";
  byId("first").querySelector("button").textContent = classes.length ? "Add" : "Begin";
  byId("keep").hidden = pad.empty;
  byId("keep").querySelector("label").textContent = hand
    ? "Enter keeps it."
    : best()
      ? "Right? Press Enter. Wrong? Say what it was."
      : "What is it? A sign of yours, or a new one.";
  byId("keep-name").placeholder = classOf(hand)?.name ?? best()?.name ?? "";
}

/** Put a picture with one character on the pad, or with none. */
export function showPicture(file, bitmap, found = NO_INK) {
  anew();
  pad.show({ file, bitmap, found });
}

/** Ctrl-Z and its like, for this pad; says whether there was something to do. */
export function padKey(key) {
  if (key === "undo" && pad.canUndo) pad.undo();
  else if (key === "redo" && pad.canRedo) pad.redo();
  else if (key === "clear" && !pad.empty) pad.clear();
  else if (key === "clear" && hand) takeInHand(null);
  else return false;
  return true;
}

export const repaintPad = () => pad.repaint();

export function startDraw() {
  for (const name of ["undo", "redo", "clear"]) byId(name).addEventListener("click", () => pad[name]());
  byId("done").addEventListener("click", () => {
    takeInHand(null);
    byId("pad").focus({ preventScroll: true });
  });
  byId("heat").addEventListener("click", ({ target }) => {
    if (target.getAttribute("aria-disabled") === "true") return;
    target.setAttribute("aria-pressed", target.getAttribute("aria-pressed") !== "true");
    if (!pad.empty) look();
  });
  onLost((lost) => lost || pad.empty || look());
  const stored = JSON.parse(sessionStorage.getItem(STORED) ?? "null");
  let before = null;
  onState((state, news) => {
    if (before === null && stored?.hand) takeInHand(stored.hand);
    if (hand && !classOf(hand)) takeInHand(null);
    title();
    if (!pad.empty && before !== state.version) news && before !== null ? lookLater() : look();
    if (pad.empty && !noticed) nothing();
    else forms();
    before = state.version;
  });
  if (stored?.strokes.length) pad.reset(stored.strokes);
  else changed();
}
