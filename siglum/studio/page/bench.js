// The bench: one pad, its tools and one place for photos, shared by the tabs Find, Teach and Test.

import { connectionProblem, Disconnected, onConnection } from "./api.js";
import { startCamera, stopCamera } from "./camera.js";
import { announce, byId, onClick, setEnabled, showError } from "./dom.js";
import { createPad } from "./pad.js";
import { closePhoto, isLive, isPhotoOpen, startPhoto } from "./photo.js";

const STILL = 20; // ms without a point after which the pen is at rest
const [MIN_REST, MAX_REST] = [20, 1000]; // ms between two requests while the pen moves
const REST_SCALE = 10; // ms: the rest is the square of the last request's time, divided by this
const STORAGE = "siglum.pad";
const NO_TAB = { start() {}, change() {}, submit() {}, clear: () => false };

const tabs = {}; // by name
let tab = NO_TAB; // the open one
let isStored = false; // the drawing is stored, and shared by Find and Teach; not the one of a test

export const pad = createPad(byId("pad"), { onstart: () => tab.start(), onchange: update, announce });

/**
 * Add a tab: `change()` follows the pad and the photo, `start()` comes before a stroke, `submit()` is for
 * Enter on the pad, `clear()` for Escape on an empty one.
 */
export const addTab = (name, handlers) => (tabs[name] = { ...NO_TAB, isStored: true, ...handlers });
export const isTabOpen = (name) => tab === tabs[name];

/** Put a tab's panel beside the pad; none for a view without the pad. */
export function openTab(name) {
  tab = tabs[name] ?? NO_TAB;
  if (tab !== NO_TAB && tab.isStored !== isStored) {
    isStored = tab.isStored;
    if (!isStored) closePhoto(); // a test needs the pad
    pad.reset(isStored ? JSON.parse(sessionStorage.getItem(STORAGE) ?? "[]") : []);
  } else update();
}

export const setTask = (...parts) => byId("task").replaceChildren(...parts);

/** Undo, redo or clear on the pad; false if there is nothing to do. */
export function changePad(action) {
  const { canUndo, canRedo, isEmpty } = pad;
  if (tab === NO_TAB || isPhotoOpen()) return false;
  if (!{ undo: canUndo(), redo: canRedo(), clear: !isEmpty() }[action]) return action === "clear" && tab.clear();
  pad[action]();
  return true;
}

function update() {
  setEnabled(byId("undo-stroke"), pad.canUndo());
  setEnabled(byId("redo-stroke"), pad.canRedo());
  setEnabled(byId("clear"), !pad.isEmpty());
  byId("bench").dataset.subject = isLive() ? "camera" : isPhotoOpen() ? "photo" : "pad";
  if (!isLive()) stopCamera();
  if (isStored && !pad.isDrawing()) sessionStorage.setItem(STORAGE, JSON.stringify(pad.drawing().strokes));
  showError("bench-error");
  tab.change();
}

/** A function that calls `ask` for the newest ink: one request at a time, and another if the ink changed. */
export function latest(ask) {
  let isAsking = false;
  let isOutdated = false;
  return async () => {
    isOutdated = true;
    if (isAsking) return;
    isAsking = true;
    while (isOutdated && !connectionProblem()) {
      isOutdated = false;
      const [start, newestPoint] = [performance.now(), pad.lastPointTime()];
      await ask().catch((error) => error instanceof Disconnected || showError("bench-error", error));
      performance.clearMeasures("answer");
      performance.measure("answer", { start: newestPoint, end: performance.now() });
      await rest((performance.now() - start) ** 2 / REST_SCALE);
    }
    isAsking = false;
  };
}

/** While the pen moves, leave the server time for other pages. */
async function rest(time) {
  const end = performance.now() + Math.min(Math.max(MIN_REST, time), MAX_REST);
  while (pad.isDrawing() && performance.now() < Math.min(end, pad.lastPointTime() + STILL)) {
    await new Promise((resolve) => setTimeout(resolve, STILL));
  }
}

export function startBench() {
  onClick({ "undo-stroke": () => changePad("undo"), "redo-stroke": () => changePad("redo"), clear: () => changePad("clear") });
  byId("pad").addEventListener("keydown", ({ key }) => {
    if (key === "Enter") tab.submit();
  });
  startPhoto(update);
  startCamera();
  onConnection((problem) => problem || update());
}
