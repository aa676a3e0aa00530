// The bench: the pad, what is read while one draws, and keeping it as a sample.

import { createAnswer, spoken } from "./answer.js";
import { byId, keyed, make, said, settled, sign } from "./dom.js";
import { clearInk, showInk } from "./ink.js";
import { createPad } from "./pad.js";
import { ask, Lost, onLost, send } from "./server.js";
import { change, classOf, named, now, onState, take } from "./state.js";
import { keep } from "./unsent.js";
import { count, percent } from "./words.js";

const PAUSE = 1400; // ms without a pen after which a sign that is being taught is kept
const STORED = "siglum.pad";

const watchers = new Set();
let hand = null; // id of the sign that is being taught
let result = null; // the newest answer
let photo = null; // the file behind a picture on the pad
let noticed = false; // the card says what was done last
let busy = false;
let again = false;
let pausing = 0;

const pad = createPad(byId("pad"), { onchange: changed, onlift: lifted, say: tell });
const answer = createAnswer(byId("answer"), { onpick: (id) => keepAs(id) });
const speak = settled((text) => tell(text), 600);

/** Say something to who listens. */
export function tell(text) {
  byId("live").textContent = text;
}

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
  byId("ghost").hidden = !pad.empty || one !== undefined;
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
  title();
  byId("undo").disabled = !pad.canUndo;
  byId("redo").disabled = !pad.canRedo;
  byId("clear").disabled = pad.empty;
  if (!pad.drawingNow) store();
  complain();
  if (pad.empty) nothing();
  else look();
}

function lifted(type) {
  if (hand && byId("auto").checked && type !== "keys") {
    pausing = setTimeout(() => keepAs(hand), PAUSE);
  }
  look(); // for a heat map, which is asked for only while no pen is down
}

/** Show errors near where they happened, or take them away. */
function complain(error = null) {
  byId("said").replaceChildren(...(error ? [said(error.message)] : []));
}

/** What the card says while there is nothing on the pad. */
function nothing(...parts) {
  result = null;
  noticed = parts.length > 0;
  evidence(["What is drawn is cut out, brought to one size and laid in the middle of a square."]);
  clearInk(byId("ink"));
  byId("scale").hidden = true;
  byId("left").textContent = "";
  byId("nearest").replaceChildren();
  byId("nearest-title").hidden = true;
  byId("heat").disabled = true;
  if (parts.length) answer.say(...parts);
  else if (now()?.classes.length) answer.say(hand ? "Draw it." : "Draw one of your signs.");
  else answer.say();
  forms();
}

/** Ask what is on the pad: one question at a time, and the last state always. */
async function look() {
  again = true;
  if (busy) return;
  busy = true;
  while (again && !pad.empty) {
    again = false;
    const heat = byId("heat").getAttribute("aria-pressed") === "true" && !pad.drawingNow;
    const last = pad.lastPoint;
    try {
      const found = await read(heat);
      if (pad.empty) break;
      show(found);
      performance.clearMeasures("answer");
      performance.measure("answer", { start: last, end: performance.now() });
    } catch (error) {
      if (error instanceof Lost) break;
      if (error.status === 429) await new Promise((wake) => setTimeout(wake, 200));
      else complain(error);
    }
  }
  busy = false;
}

async function read(heat) {
  if (!pad.picture || pad.drawingNow) {
    return ask("/api/recognise", heat ? { drawing: pad.drawing(), heat } : { drawing: pad.drawing() });
  }
  const { characters } = await send("/api/picture", photo);
  return characters[0] ?? { answers: [], set: [], none: false, empty: true, evidence: [], nearest: [] };
}

function show(found) {
  result = found;
  if (now()?.classes.length) answer.show(found);
  if (found.ink) showInk(byId("ink"), found);
  byId("scale").hidden = !found.heat;
  byId("left").replaceChildren(...(found.heat ? missed(found) : []));
  byId("heat").disabled = Boolean(pad.picture);
  evidence(found.evidence);
  byId("nearest-title").hidden = !found.nearest.length;
  keyed(byId("nearest"), found.nearest, (id) => id, (id) => make("li", {}, thumb(id)), () => {});
  forms();
  speak(spoken(found));
}

/** What covering the reddest piece of ink leaves of the best answer. */
function missed({ answers: [best], heat_left: left }) {
  const one = best && classOf(best.class);
  return one ? ["With the reddest piece covered, ", sign(one.name), ` has ${percent(left)}.`] : [];
}

function evidence(lines) {
  byId("evidence").replaceChildren(...lines.map((text) => make("li", {}, text)));
}

/** A picture of a sample. */
export function thumb(id, alt = "a drawing") {
  return make("img", { src: `/api/samples/${id}.png`, alt, width: 48, height: 48, draggable: "false" });
}

function forms() {
  const classes = now()?.classes ?? [];
  byId("first").hidden = classes.length > 1;
  byId("answer-title").hidden = !classes.length;
  byId("below").hidden = !classes.length;
  byId("first-label").textContent = classes.length ? "Name a second sign" : "Name your first two signs";
  byId("first-names").placeholder = classes.length ? "β" : "α β";
  byId("keep").hidden = pad.empty;
  const best = result && !result.none && result.answers[0];
  byId("keep").querySelector("label").textContent = hand
    ? "Enter keeps it."
    : best
      ? "Right? Press Enter. Wrong? Say what it was."
      : "What is it? A sign of yours, or a new one.";
  byId("keep-name").placeholder = classOf(hand)?.name ?? best?.name ?? "";
}

/** Put a picture with one character on the pad. */
export function showPicture(file, bitmap, found) {
  photo = file;
  pad.reset({ picture: bitmap });
  if (found) show(found);
}

async function keepAs(id) {
  clearTimeout(pausing);
  if (pad.empty) return;
  if (pad.picture) return keepPicture(id);
  const { strokes } = pad.drawing();
  const kept = keep({ class: id, drawing: pad.drawing(), part: "taught", writer: writer() });
  pad.reset();
  byId("keep-name").value = "";
  nothing("Keeping it as ", sign(classOf(id)?.name ?? ""));
  try {
    await kept;
    thanks(id);
  } catch (error) {
    if (pad.empty) pad.reset({ strokes });
    complain(error);
  }
}

async function keepPicture(id) {
  try {
    take((await send(pictureAddress(id), photo)).state);
    pad.reset();
    thanks(id);
  } catch (error) {
    complain(error);
  }
}

/** Where a picture goes that is kept as a sample. */
export function pictureAddress(id) {
  return `/api/picture?${new URLSearchParams({ class: id, part: "taught", writer: writer() })}`;
}

function thanks(id) {
  const one = classOf(id);
  if (!one) return;
  tell(`Kept as ${one.name}. ${count(one.taught, "drawing")}.`);
  if (!pad.empty) return;
  const undo = () => {
    byId("take-back").click();
    nothing();
  };
  const back = make("button", { type: "button", onclick: undo }, "Undo");
  nothing("Kept as ", sign(one.name), make("span", { class: "quiet" }, count(one.taught, "drawing")), back);
}

export const writer = () => byId("writer").value.trim();

/** Add signs that are not there yet; returns their ids. */
export async function addSigns(names) {
  const ids = [];
  for (const name of names) {
    const known = named(name);
    if (known) {
      ids.push(known.id);
      continue;
    }
    ids.push((await change("/api/classes", { name })).id);
  }
  return ids;
}

/** After signs were added: draw the first of which nothing is known. */
export function startWith(ids) {
  const unknown = ids.map(classOf).find((one) => one && !one.print && !one.taught);
  if (unknown) takeInHand(unknown.id);
  else byId("pad").focus({ preventScroll: true });
}

async function keepNamed(event) {
  event.preventDefault();
  if (pad.empty) return;
  const name = byId("keep-name").value.trim();
  const best = result && !result.none && result.answers[0];
  const id = hand ?? best?.class;
  if (!name && !id) {
    byId("keep-name").focus();
    return;
  }
  try {
    await keepAs(name ? (await addSigns([name]))[0] : id);
    if (document.activeElement === byId("keep-name")) byId("pad").focus({ preventScroll: true });
  } catch (error) {
    complain(error);
  }
}

async function nameFirst(event) {
  event.preventDefault();
  const text = byId("first-names").value.trim();
  const names = text.split(/[,;]/.test(text) ? /[,;]/ : /\s+/).map((name) => name.trim());
  try {
    const ids = await addSigns(names.filter(Boolean));
    byId("first-names").value = "";
    if (ids.length) startWith(ids);
  } catch (error) {
    complain(error);
  }
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
  byId("keep").addEventListener("submit", keepNamed);
  byId("keep-name").addEventListener("input", () => clearTimeout(pausing)); // who types decides
  byId("first").addEventListener("submit", nameFirst);
  byId("done").addEventListener("click", () => takeInHand(null));
  byId("pad").addEventListener("keydown", (event) => {
    if (event.key === "Enter") keepNamed(event);
  });
  byId("heat").addEventListener("click", ({ target }) => {
    target.setAttribute("aria-pressed", target.getAttribute("aria-pressed") !== "true");
    if (!pad.empty) look();
  });
  byId("writer").value = localStorage.getItem("siglum.writer") ?? "";
  byId("writer").addEventListener("change", () => localStorage.setItem("siglum.writer", writer()));
  onLost((lost) => lost || pad.empty || look());
  const stored = JSON.parse(sessionStorage.getItem(STORED) ?? "null");
  let before = null;
  onState((state) => {
    if (before === null && stored?.hand) takeInHand(stored.hand);
    if (hand && !classOf(hand)) takeInHand(null);
    title();
    if (!pad.empty && before !== state.version) look();
    if (pad.empty && !noticed) nothing();
    else forms();
    before = state.version;
  });
  if (stored?.strokes.length) pad.reset({ strokes: stored.strokes });
  else changed();
}
