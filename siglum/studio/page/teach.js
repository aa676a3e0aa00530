// The Teach view: draw on the pad or open a photo, see the prediction, save it as an example.

import { connectionProblem, Disconnected, onConnection, post } from "./api.js";
import { announce, byId, h, isEnabled, onClick, onSubmit, randomId, setEnabled, showError, signName } from "./dom.js";
import { count } from "./format.js";
import { travel } from "./history.js";
import { submit } from "./outbox.js";
import { createPad } from "./pad.js";
import * as photo from "./photo.js";
import { renderInput, showCard, showCardMessage } from "./prediction.js";
import { classById, classByName, getActiveSign, getState, mutate, selectSign, subscribe } from "./store.js";

const AUTOSAVE = 3000; // ms without the pen after which the drawing is saved
const JOIN = 4000; // ms after that in which another stroke still belongs to it
const ENOUGH = 3; // examples of a sign, to begin with
const SPEECH = 600; // ms without another prediction after which one is announced
const REMOTE = 2000; // ms, up to doubled at random, until changes by others are taken into account
const STILL = 20; // ms without a point after which the pen is at rest
const [MIN_REST, MAX_REST] = [20, 1000]; // ms between two requests while the pen moves
const REST_SCALE = 10; // ms: the rest is the square of the last request's time, divided by this
const STORAGE = "siglum.pad";
const AUTHOR = "siglum.author";

const listeners = { onstart: resumeSaved, onchange: handleChange, onlift: handleLift, announce };
export const pad = createPad(byId("pad"), listeners);
const strokeCounts = new Map(); // by class: how many strokes its last complete example has
let drawingId = 0; // another one each time that a drawing is begun
let prediction = null; // of that drawing
let replaces = null; // id of the example that the drawing continues
let resumable = null; // {id, class, strokes}: the example that the next stroke would continue
let savedEvent = null; // the undoable change that the card reports
let isMessage = false; // the card reports something instead of asking for a drawing
let previousSign = null; // the active sign as of the last change
let isPredicting = false;
let isOutdated = false;
let lastSpeech = "";
const timers = {};

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));
const isHeatmapOn = () => byId("explain").getAttribute("aria-pressed") === "true";
const best = () => (prediction && !prediction.rejected && prediction.candidates[0]) || null;
const isEmpty = () => (photo.isPhotoOpen() ? !photo.getSign() : pad.isEmpty());

export const getAuthor = () => byId("author").value.trim();

function startDrawing() {
  drawingId += 1;
  prediction = replaces = null;
  byId("save-name").value = "";
  speak("");
}

function handleChange() {
  cancelAutosave();
  setEnabled(byId("undo-stroke"), pad.canUndo());
  setEnabled(byId("redo-stroke"), pad.canRedo());
  setEnabled(byId("clear"), !pad.isEmpty());
  if (!pad.isDrawing()) store();
  showError("teach-error");
  if (pad.isEmpty()) return showMessage();
  renderForms();
  predict();
}

function handleLift(type) {
  if (getActiveSign() && byId("autosave").checked && type !== "keys") {
    timers.autosave = setTimeout(() => save(getActiveSign(), { isAutomatic: true }), AUTOSAVE);
    showRing("waiting", AUTOSAVE);
  }
  predict(); // a heat map is only requested while the pen is up
}

function store() {
  sessionStorage.setItem(STORAGE, JSON.stringify({ strokes: pad.drawing().strokes, activeSign: getActiveSign() }));
}

function handlePhoto() {
  cancelAutosave();
  stopJoining();
  byId("bench").dataset.subject = photo.isPhotoOpen() ? "photo" : "pad";
  if (!photo.isPhotoOpen()) return handleChange();
  const sign = photo.getSign();
  if (!sign) return showMessage("No sign found in this picture. Try more light or a thicker pen.");
  startDrawing();
  showPrediction(sign);
}

/** Predict what is on the pad: one request at a time, always for the latest ink. */
async function predict() {
  isOutdated = true;
  if (isPredicting) return;
  isPredicting = true;
  while (isOutdated && !pad.isEmpty() && !photo.isPhotoOpen() && !connectionProblem()) {
    isOutdated = false;
    const [start, newestPoint, id] = [performance.now(), pad.lastPointTime(), drawingId];
    try {
      const next = await post("/api/predict", { drawing: pad.drawing(), heatmap: isHeatmapOn() && !pad.isDrawing() });
      if (id === drawingId) showPrediction(next);
      else isOutdated = true;
      performance.clearMeasures("answer");
      performance.measure("answer", { start: newestPoint, end: performance.now() });
      await rest((performance.now() - start) ** 2 / REST_SCALE);
    } catch (error) {
      if (!(error instanceof Disconnected)) showError("teach-error", error);
    }
  }
  isPredicting = false;
}

/** While the pen moves, leave the server time for other pages. */
async function rest(time) {
  const end = performance.now() + Math.min(Math.max(MIN_REST, time), MAX_REST);
  while (pad.isDrawing() && performance.now() < Math.min(end, pad.lastPointTime() + STILL)) await sleep(STILL);
}

function showPrediction(next) {
  prediction = next;
  if (getState()?.classes.length) showCard(next, pickName);
  renderInput({ ...next, heatmap: isHeatmapOn() && next.heatmap });
  renderForms();
  speak(byId("headline").textContent);
}

function speak(text) {
  if (text === lastSpeech) return;
  lastSpeech = text;
  clearTimeout(timers.speech);
  if (text) timers.speech = setTimeout(() => announce(byId("headline").innerText), SPEECH);
}

/** Show a message while there is nothing to recognise; by default what to draw. */
function showMessage(...parts) {
  startDrawing();
  isMessage = parts.length > 0;
  savedEvent = null;
  renderInput();
  showCardMessage(...(isMessage ? parts : prompt()));
  renderForms();
}

function prompt() {
  const sign = classById(getActiveSign());
  if (!sign) return getState()?.classes.length ? ["Draw any of your signs"] : [];
  const missing = ENOUGH - sign.train;
  if (sign.in_fonts || missing <= 0) return ["Draw ", signName(sign.name)];
  const times = sign.train ? "more times" : "times";
  return ["Draw ", signName(sign.name), missing === 1 ? "once more" : `${missing} ${times}`];
}

function renderForms() {
  const sign = classById(getActiveSign());
  const heading = sign ? ["Draw ", signName(sign.name)] : ["Draw here"];
  document.body.dataset.signs = Math.min(getState()?.classes.length ?? 0, 2); // the style sheet hides what needs more
  byId("task").replaceChildren(...(photo.isPhotoOpen() ? [photo.describePhoto()] : heading));
  byId("teaching").hidden = !sign;
  byId("stop").replaceChildren("Stop teaching ", signName(sign?.name ?? ""));
  byId("save-form").hidden = isEmpty();
  byId("explain").hidden = photo.isPhotoOpen() && !prediction?.heatmap; // a page of several signs has none
  const question = best()
    ? "Right? Enter saves it as an example. Wrong? Pick the right one."
    : "What did you draw? Pick a sign or type a new name.";
  byId("save-label").textContent = sign ? "Enter saves it." : question;
  byId("save-name").placeholder = sign?.name ?? best()?.name ?? "";
}

function pickName(id) {
  cancelAutosave();
  byId("save-name").value = classById(id)?.name ?? "";
  byId("save").focus();
}

async function submitSave() {
  if (isEmpty()) return stopJoining();
  const name = byId("save-name").value.trim();
  const id = getActiveSign() ?? best()?.class;
  if (!name && !id) return byId("save-name").focus();
  cancelAutosave();
  const savedId = drawingId;
  const [target] = name ? await addSigns([name]) : [id];
  if (savedId !== drawingId) return;
  await (photo.isPhotoOpen() ? photo.saveSign(target, getAuthor()) : save(target));
  if (byId("save-name") === document.activeElement) byId("pad").focus({ preventScroll: true });
}

async function save(classId, { isAutomatic = false } = {}) {
  const [drawing, id] = [pad.drawing(), randomId()];
  const entry = { id, class: classId, drawing, split: "train", author: getAuthor() };
  const answer = submit(replaces ? { ...entry, replaces } : entry);
  pad.reset();
  showMessage("Saving to ", signName(classById(classId)?.name ?? ""), "…");
  const { strokes } = drawing;
  const isIncomplete = strokes.length < (strokeCounts.get(classId) ?? Infinity);
  if (isAutomatic && isIncomplete) startJoining({ id, class: classId, strokes });
  else strokeCounts.set(classId, strokes.length);
  try {
    showSaved(classId, await answer);
  } catch {
    if (pad.isEmpty()) showMessage(); // the notice at the top gives the reason
  }
}

function showSaved(classId, answer) {
  const sign = classById(classId);
  if (!sign) return;
  const examples = `(${count(sign.train, "example")})`;
  announce(`Saved to ${sign.name} ${examples}.`);
  if (!isEmpty()) return;
  const button = (listener, ...text) => h("button", { type: "button", onclick: listener }, ...text);
  const undo = button(() => travel("undo"), "Undo");
  const next = getState().classes.find((one) => one !== sign && !one.in_fonts && one.train < ENOUGH);
  const isDone = next && getActiveSign() === classId && sign.train >= ENOUGH;
  const more = isDone ? [button(() => selectSign(next.id), "Next: ", signName(next.name), " →")] : [];
  showMessage("Saved to ", signName(sign.name), h("span", { class: "quiet" }, examples), undo, ...more);
  savedEvent = answer.state.undo?.event;
}

// Saving by itself: a ring fills while the pen rests; for a moment, another stroke still continues the drawing.

function showRing(kind, duration) {
  const ring = byId("ring");
  ring.removeAttribute("hidden");
  ring.dataset.kind = kind;
  ring.lastElementChild.getAnimations().forEach((animation) => animation.cancel());
  const strokeDashoffset = kind === "waiting" ? [1, 0] : [0, 1];
  ring.lastElementChild.animate({ strokeDashoffset }, { duration, fill: "forwards" });
}

function cancelAutosave() {
  clearTimeout(timers.autosave);
  if (!resumable) byId("ring").setAttribute("hidden", "");
}

function startJoining(example) {
  resumable = example;
  pad.fade(example.strokes);
  showRing("saved", JOIN);
  setEnabled(byId("clear"), true);
  timers.join = setTimeout(() => {
    strokeCounts.set(example.class, example.strokes.length);
    stopJoining();
  }, JOIN);
}

function stopJoining() {
  clearTimeout(timers.join);
  if (!resumable) return;
  resumable = null;
  pad.fade([]);
  setEnabled(byId("clear"), !pad.isEmpty());
  cancelAutosave();
}

/** A stroke that begins soon after an automatic save continues the saved drawing. */
function resumeSaved() {
  if (!resumable) return;
  const { id, strokes } = resumable;
  stopJoining();
  pad.reset(strokes);
  replaces = id;
}

/** Add the signs that are new; returns the ids of all. */
export async function addSigns(names) {
  const existing = names.map((name) => classByName(name)?.id);
  return existing.every(Boolean) ? existing : (await mutate("/api/classes", { names })).ids;
}

/** Split what was typed into names: at commas, and at spaces between single characters. */
function splitNames(text) {
  const words = text.trim().split(/\s+/);
  const areCharacters = words.every((word) => [...word].length === 1);
  const names = /[,;]/.test(text) ? text.split(/[,;]/) : areCharacters ? words : [text];
  return names.map((name) => name.trim()).filter(Boolean);
}

/** Add signs from a field; then teach the first one that needs examples. */
export async function addFromField(field) {
  const names = splitNames(field.value);
  if (!names.length) return;
  const ids = await addSigns(names);
  field.value = "";
  const untaught = ids.map(classById).find((one) => !one.in_fonts && !one.train);
  if (untaught) selectSign(untaught.id);
  else byId("pad").focus({ preventScroll: true });
}

function handleSelection() {
  const sign = getActiveSign();
  if (sign === previousSign) return;
  previousSign = sign;
  cancelAutosave();
  stopJoining();
  store();
  if (sign) photo.closePhoto();
  if (isEmpty()) showMessage();
  if (!sign) return;
  const { top, bottom } = byId("pad").getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) byId("task").scrollIntoView();
  byId("pad").focus({ preventScroll: true });
}

/** Continue with a drawing of the Find view. */
export function drawOnTeachPad(strokes) {
  photo.closePhoto();
  pad.reset(strokes);
  location.hash = "#teach";
}

/** Handle undo, redo or clear; false if there is nothing to do on the pad. */
export function handleTeachKey(action) {
  if (photo.isPhotoOpen()) return false;
  if (action === "undo" && pad.canUndo()) pad.undo();
  else if (action === "redo" && pad.canRedo()) pad.redo();
  else if (action === "clear" && resumable) stopJoining();
  else if (action === "clear" && !pad.isEmpty()) pad.clear();
  else if (action === "clear" && getActiveSign()) selectSign(null);
  else return false;
  return true;
}

function toggleHeatmap() {
  if (!isEnabled(byId("explain"))) return;
  byId("explain").setAttribute("aria-pressed", !isHeatmapOn());
  byId("explain").textContent = isHeatmapOn() ? "Hide" : "Why?";
  if (photo.isPhotoOpen()) handlePhoto();
  else predict();
}

export function startTeach() {
  onClick({
    "undo-stroke": pad.undo, "redo-stroke": pad.redo, clear: () => handleTeachKey("clear"),
    stop: () => selectSign(null), explain: toggleHeatmap,
  });
  onSubmit("save-form", "teach-error", submitSave);
  onSubmit("start-form", "teach-error", () => addFromField(byId("start-names")));
  byId("save-name").addEventListener("input", cancelAutosave); // the user decides
  byId("pad").addEventListener("keydown", ({ key }) => {
    if (key === "Enter") byId("save-form").requestSubmit();
  });
  byId("author").value = localStorage.getItem(AUTHOR) ?? "";
  byId("author").addEventListener("change", () => localStorage.setItem(AUTHOR, getAuthor()));
  photo.startPhoto(handlePhoto);
  onConnection((problem) => problem || predict());
  const stored = JSON.parse(sessionStorage.getItem(STORAGE) ?? "null");
  let isFirst = true;
  handleChange();
  subscribe((state, isRemote) => {
    const wasFirst = isFirst;
    isFirst = false;
    if (wasFirst && stored?.strokes.length) pad.reset(stored.strokes);
    if (wasFirst && classById(stored?.activeSign)) selectSign(stored.activeSign);
    handleSelection();
    const isUndone = savedEvent !== null && state.undo?.event !== savedEvent;
    if (isUndone) stopJoining();
    if (isEmpty() && !photo.isPhotoOpen() && (isUndone || !isMessage)) showMessage();
    else renderForms();
    if (wasFirst || !isRemote) return predict();
    timers.remote ||= setTimeout(() => {
      timers.remote = 0;
      predict();
    }, REMOTE * (1 + Math.random()));
  });
}
