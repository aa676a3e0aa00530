// What the server knows, in this page: one value, replaced as a whole.

import { ask, get, onLost } from "./server.js";

const watchers = new Set();
let state = null;
let stream = null;

export const now = () => state;

export const classOf = (id) => state?.classes.find((one) => one.id === id);

/** The sign of that name; names are compared as Unicode composes them. */
export function named(name) {
  const wanted = name.trim().normalize("NFC");
  return state?.classes.find((one) => one.name === wanted);
}

/** Call `watcher(state)` now, if there is a state, and after every change. */
export function onState(watcher) {
  watchers.add(watcher);
  if (state) watcher(state);
}

/** Take a state from an answer, unless a later one is here. */
export function take(found, force = false) {
  if (state && !force && found.version < state.version) return;
  state = found;
  for (const watcher of watchers) watcher(state);
}

/** Ask for a change, and take the state that comes of it. */
export async function change(path, body) {
  const answer = await ask(path, body);
  take(answer.state);
  return answer;
}

export async function refresh() {
  take(await get("/api/state"), true);
}

/** Keep in step with other pages on the same server, while this one is seen. */
export function follow() {
  const listen = () => {
    stream?.close();
    stream = null;
    if (document.hidden) return;
    stream = new EventSource("/api/events");
    stream.onmessage = ({ data }) => {
      if (Number(data) !== state?.version) refresh().catch(() => {});
    };
    // A stream that ends may be the first sign that the server has gone; asking tells.
    stream.onerror = () => refresh().catch(() => {});
  };
  document.addEventListener("visibilitychange", () => {
    listen();
    if (!document.hidden) refresh().catch(() => {});
  });
  onLost((lost) => {
    if (lost) return;
    refresh().catch(() => {});
    if (stream?.readyState === EventSource.CLOSED) listen();
  });
  addEventListener("pagehide", () => stream?.close());
  listen();
}
