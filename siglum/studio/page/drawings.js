// The list of all drawings, fetched while it is needed and again after every change.

import { get } from "./api.js";
import { h } from "./dom.js";
import { backoff, drawingCount, getState, subscribe } from "./store.js";

const SMALL_SET = 300; // drawings up to which the list is fetched for thumbnails alone
const OWN_CHANGE = 120; // ms until the list is fetched again
const REMOTE_CHANGE = 2000; // ms, at least

const listeners = new Set();
const users = new Set(); // what needs the list however long it is
let drawings = [];
let version = null; // of the state that the list belongs to
let timer = 0;
let isFetching = false;

export const getDrawings = () => drawings;

/** Call `listener(drawings, version)` after every change of the list. */
export const onDrawings = (listener) => listeners.add(listener);

/** Fetch even a long list while `user` needs it. */
export function needDrawings(user, isNeeded) {
  if (!isNeeded) users.delete(user);
  else if (users.add(user)) fetchDrawings();
}

/** A picture of a drawing, which is inverted in the dark theme unless it is a photo. */
export function thumbnail({ id, photo: isPhoto }, alt = "a drawing") {
  const source = `/api/drawings/${id}.png`;
  return h("img", { src: source, alt, class: isPhoto ? "" : "ink-image", width: 48, height: 48, draggable: "false" });
}

/** Pictures of the newest examples of a sign. */
export function thumbnails(classId, maximum = Infinity) {
  const examples = drawings.filter((one) => one.class === classId && one.split === "train");
  return examples.slice(-maximum).map((one) => thumbnail(one, ""));
}

async function fetchDrawings() {
  timer = 0;
  const state = getState();
  if (!state || isFetching || state.version === version) return;
  const isWanted = users.size > 0 || drawingCount() <= SMALL_SET;
  isFetching = true;
  // After a failure the list is fetched when the server is back, since the state changes then.
  const next = isWanted ? await get("/api/drawings").catch(() => null) : [];
  isFetching = false;
  if (!next) return;
  [drawings, version] = [next, isWanted ? state.version : null];
  for (const listener of listeners) listener(drawings, version);
  if (isWanted) fetchDrawings();
}

export function startDrawings() {
  subscribe((state, isRemote) => {
    if (isRemote && version !== null) timer ||= setTimeout(fetchDrawings, backoff(REMOTE_CHANGE));
    else {
      clearTimeout(timer);
      timer = setTimeout(fetchDrawings, OWN_CHANGE);
    }
  });
}
