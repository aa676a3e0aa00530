// What the server knows, in this page: one value, replaced as a whole.

import { ask, get, Lost, onLost } from "./server.js";

const LATER = 500; // ms, and up to twice that, before news are asked for: not by all pages at once
const RESTS = 20; // times as long as the last answer took, where that is longer
const MOST = 5000; // ms
const REFUSED = 3000; // ms after which they are asked for again

const watchers = new Set();
let state = null;
let stream = null;
let asking = null; // a refresh that is under way
let heard = 0; // the newest version that there is news of
let timer = 0;
let took = 0; // ms, for the last answer

/** How long to wait with news, ms: a room full of pages asks less often where answers are slow. */
export const patience = (least) => Math.max(least, Math.min(RESTS * took, MOST));

export const now = () => state;

const isBehind = () => state === null || heard > state.version;

export const classOf = (id) => state?.classes.find((one) => one.id === id);

/** The sign of that name; names are compared as Unicode composes them. */
export function named(name) {
  const wanted = name.trim().normalize("NFC");
  return state?.classes.find((one) => one.name === wanted);
}

/** Call `watcher(state, news)` now, if there is a state, and after every change; news are not this page's doing. */
export function onState(watcher) {
  watchers.add(watcher);
  if (state) watcher(state, false);
}

/** Take a state from an answer, unless a later one is here. */
export function take(found, news = false) {
  if (state && found.version < state.version) return;
  state = found;
  for (const watcher of watchers) watcher(state, news);
}

/** Ask for a change, and take the state that comes of it. */
export async function change(path, body) {
  const answer = await ask(path, body);
  take(answer.state);
  return answer;
}

/** Ask for the state; one question at a time. */
export function refresh() {
  const begun = performance.now();
  asking ??= get("/api/state")
    .then((found) => {
      took = performance.now() - begun;
      take(found, true);
    })
    .finally(() => (asking = null));
  return asking;
}

function later(wait) {
  timer ||= setTimeout(async () => {
    timer = 0;
    if (document.hidden || !isBehind()) return;
    try {
      await refresh();
      if (isBehind()) later(patience(LATER));
    } catch (error) {
      if (!(error instanceof Lost)) later(REFUSED);
    }
  }, wait * (1 + Math.random()));
}

/** Keep in step with other pages on the same server, while this one is seen. */
export function follow() {
  const again = () => refresh().catch(() => {});
  const listen = () => {
    stream?.close();
    stream = null;
    if (document.hidden) return;
    stream = new EventSource("/api/events");
    stream.onmessage = ({ data }) => {
      heard = Number(data);
      if (isBehind()) later(patience(LATER));
    };
    // A stream that ends may be the first sign that the server has gone; asking tells.
    stream.onerror = again;
  };
  document.addEventListener("visibilitychange", () => {
    listen();
    if (!document.hidden) again();
  });
  onLost((lost) => {
    if (lost) return;
    again();
    if (stream?.readyState === EventSource.CLOSED) listen();
  });
  addEventListener("pagehide", () => stream?.close());
  listen();
}
