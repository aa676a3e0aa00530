// The page's state: what the server last sent, the list of drawings, and the sign that is being taught.

import { connectionProblem, get, onConnection, post } from "./api.js";

const DELAY = 500; // ms, up to doubled at random, before changes by others are fetched
const SLOW = 20; // the delay is at least so many times as long as the last answer took
const MAX_DELAY = 5000; // ms

const OWN_CHANGE = 120; // ms until the list is fetched again
const REMOTE_CHANGE = 2000; // ms, after a change by others

export const ENOUGH = 3; // examples of a sign, to begin with
const SIGN = "siglum.sign"; // in the tab's storage: the active sign
const AUTHOR = "siglum.author"; // in the browser's storage: the name of the user

const listeners = new Set();
const drawingListeners = new Set();
const drawingUsers = new Set(); // what shows the list
let state = null;
let drawings = [];
let drawingsVersion = null; // of the state that the list belongs to
let drawingsTimer = 0;
let isFetching = false;
let activeSign = sessionStorage.getItem(SIGN); // id of the sign that is being taught
let stream = null;
let refreshing = null;
let announced = 0; // the newest version that the server has announced
let timer = 0;
let duration = 0; // ms that the last answer took

export const getAuthor = () => localStorage.getItem(AUTHOR) ?? "";
export const setAuthor = (name) => localStorage.setItem(AUTHOR, name.trim());
export const getState = () => state;
export const getActiveSign = () => activeSign;
export const classById = (id) => state?.classes.find((one) => one.id === id);
export const drawingCount = () => state.classes.reduce((sum, one) => sum + one.train + one.test, 0);
/** Find a sign by name; names are compared in Unicode's composed form. */
export const classByName = (name) => state?.classes.find((one) => one.name === name.trim().normalize("NFC"));

export const getDrawings = () => drawings;

/** Call `listener(state, isRemote)` now and after every change; remote ones come from elsewhere. */
export function subscribe(listener) {
  listeners.add(listener);
  if (state) listener(state, false);
}

/** Replace the state, unless it is older than the present one. */
export function setState(next, isRemote = false) {
  if (state && next.version < state.version) return;
  state = next;
  if (!classById(activeSign)) activeSign = null;
  for (const listener of listeners) listener(state, isRemote);
  if (!drawingUsers.size) return;
  if (!isRemote) clearTimeout(drawingsTimer);
  if (!isRemote || !drawingsTimer) drawingsTimer = setTimeout(fetchDrawings, isRemote ? REMOTE_CHANGE : OWN_CHANGE);
}

/** Call `listener(drawings, version)` after every change of the list. */
export const onDrawings = (listener) => drawingListeners.add(listener);

/** Fetch the list while `user` shows it. */
export function needDrawings(user, isNeeded) {
  if (!isNeeded) drawingUsers.delete(user);
  else if (drawingUsers.add(user)) fetchDrawings();
}

async function fetchDrawings() {
  drawingsTimer = 0;
  if (!drawingUsers.size || !state || isFetching || state.version === drawingsVersion) return;
  const { version } = state;
  isFetching = true;
  // After a failure the list is fetched when the server is back, since the state changes then.
  const next = await get("/api/drawings").catch(() => null);
  isFetching = false;
  if (!next) return;
  [drawings, drawingsVersion] = [next, version];
  for (const listener of drawingListeners) listener(drawings, drawingsVersion);
  fetchDrawings();
}

/** Start teaching a sign, or stop (null). */
export function selectSign(id) {
  activeSign = id;
  sessionStorage.setItem(SIGN, id ?? "");
  setState(state);
}

/** Post a change and adopt the state that results. */
export async function mutate(path, body) {
  const answer = await post(path, body);
  setState(answer.state);
  return answer;
}

/** Add the signs that are new, with their LaTeX commands as outputs if `latex`; returns the ids of all. */
export async function addSigns(names, latex = false) {
  const existing = names.map((name) => classByName(name)?.id);
  return existing.every(Boolean) ? existing : (await mutate("/api/classes", { names, latex })).ids;
}

/** Fetch the state; concurrent calls share one request. */
export function refresh() {
  const start = performance.now();
  refreshing ??= get("/api/state")
    .then((next) => {
      duration = performance.now() - start;
      setState(next, true);
    })
    .finally(() => (refreshing = null));
  return refreshing;
}

function refreshLater() {
  const isOutdated = () => state === null || announced > state.version;
  if (!isOutdated()) return;
  timer ||= setTimeout(() => {
    timer = 0;
    if (!document.hidden && isOutdated()) refresh().then(refreshLater, () => {});
  }, Math.min(Math.max(DELAY, SLOW * duration), MAX_DELAY) * (1 + Math.random()));
}

function listen() {
  stream?.close();
  stream = null;
  if (document.hidden || connectionProblem()) return;
  stream = new EventSource("/api/events");
  stream.onmessage = ({ data }) => {
    announced = Number(data);
    refreshLater();
  };
  // A stream that ends may be the first sign that the server is gone.
  stream.onerror = () => refresh().catch(() => {});
}

/** Stay in step with other pages, while this one is visible. */
export function follow() {
  const resume = () => {
    listen();
    if (!document.hidden && !connectionProblem()) refresh().catch(() => {});
  };
  document.addEventListener("visibilitychange", resume);
  onConnection(resume);
  addEventListener("pagehide", () => stream?.close());
  listen();
}
