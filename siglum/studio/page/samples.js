// The list of all samples, fetched when it is looked at and again when something changes.

import { make, settled } from "./dom.js";
import { get } from "./server.js";
import { now, onState, patience } from "./state.js";

const FEW = 300; // so many are listed although nothing but thumbnails of them is shown
const SOON = 120; // ms from a change of this page to the list
const NEWS = 2000; // ms, at least, from one that others made

const watchers = new Set();
let list = null;
let version = null;
let looking = false; // a view that is about samples is open
let asking = false;

export const samples = () => list ?? [];

/** Call `watcher(list)` after every change of the list. */
export function onSamples(watcher) {
  watchers.add(watcher);
  if (list) watcher(list);
}

/** Say whether a view needs the list however long it is. */
export function lookAtSamples(so) {
  looking = so;
  if (so) bring();
}

async function bring() {
  const state = now();
  if (!state || asking || state.version === version) return;
  const total = state.classes.reduce((sum, one) => sum + one.taught + one.quiz, 0);
  if (!looking && total > FEW) {
    if (list?.length) publish([]);
    version = null;
    return;
  }
  asking = true;
  const wanted = state.version;
  try {
    publish(await get("/api/samples"));
    version = wanted;
  } catch {
    // The server has gone; a change of state when it is back asks again.
  }
  asking = false;
  if (version === wanted) bring();
}

function publish(found) {
  list = found;
  for (const watcher of watchers) watcher(list);
}

/** A picture of a sample. */
export function thumb(id, alt = "a drawing") {
  return make("img", { src: `/api/samples/${id}.png`, alt, width: 48, height: 48, draggable: "false" });
}

export function followSamples() {
  const soon = settled(bring, SOON);
  let later = 0;
  onState((state, news) => {
    if (!news || !list) return soon();
    later ||= setTimeout(() => {
      later = 0;
      bring();
    }, patience(NEWS));
  });
}
