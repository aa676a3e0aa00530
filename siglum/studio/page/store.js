// The page's state: what the server last sent, and the sign that is being taught.

import { connectionProblem, Disconnected, get, onConnection, post } from "./api.js";

const DELAY = 500; // ms, up to doubled at random, before changes by others are fetched
const SLOW = 20; // the delay is at least so many times as long as the last answer took
const MAX_DELAY = 5000; // ms
const RETRY = 3000; // ms after which a refused request is repeated

const listeners = new Set();
let state = null;
let activeSign = null; // id of the sign that is being taught
let stream = null;
let refreshing = null;
let announced = 0; // the newest version that the server has announced
let timer = 0;
let duration = 0; // ms that the last answer took

export const getState = () => state;
export const getActiveSign = () => activeSign;
export const classById = (id) => state?.classes.find((one) => one.id === id);
export const drawingCount = () => state.classes.reduce((sum, one) => sum + one.train + one.test, 0);

/** Find a sign by name; names are compared in Unicode's composed form. */
export const classByName = (name) => state?.classes.find((one) => one.name === name.trim().normalize("NFC"));

/** How long to wait before asking again, in ms: longer where the server is slow. */
export const backoff = (minimum) => Math.max(minimum, Math.min(SLOW * duration, MAX_DELAY));

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
}

/** Start teaching a sign, or stop (null). */
export function selectSign(id) {
  activeSign = id;
  setState(state);
}

/** Post a change and adopt the state that results. */
export async function mutate(path, body) {
  const answer = await post(path, body);
  setState(answer.state);
  return answer;
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

/** Fetch the state soon, if it is older than what the server has announced. */
function refreshLater(wait = backoff(DELAY)) {
  const isOutdated = () => state === null || announced > state.version;
  if (!isOutdated()) return;
  timer ||= setTimeout(async () => {
    timer = 0;
    if (document.hidden || !isOutdated()) return;
    await refresh().then(
      () => refreshLater(),
      (error) => error instanceof Disconnected || refreshLater(RETRY),
    );
  }, wait * (1 + Math.random()));
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
