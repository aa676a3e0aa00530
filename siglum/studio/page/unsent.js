// Drawings on their way to the server. They stay in the browser until the server says that they
// are on its disk; a drawing that is sent twice has the same key and is kept once. One that is
// refused, or that belongs to another folder than the one that is open, stays until a person
// says what becomes of it.

import { randomId } from "./dom.js";
import { ask, Lost } from "./server.js";
import { now, onState, take } from "./state.js";

const PREFIX = "siglum.unsent.";
const BUSY = 429;

const waiting = new Map(); // by key: {key, class, drawing, part, writer, folder, title}
const refused = new Map(); // by key: why, in words
const answers = new Map(); // by key: {resolve, reject} of who kept it, if this page did
const watchers = new Set();
let sending = false;

const isElsewhere = ({ folder }) => now() !== null && folder !== now().folder;

/** Keep a drawing: {class, drawing, part, writer}. Resolves with the server's answer. */
export function keep(sample) {
  const key = randomId();
  const kept = new Promise((resolve, reject) => answers.set(key, { resolve, reject }));
  send({ ...sample, key });
  return kept;
}

/** Send a drawing to the folder that is open, also one that was not kept; it is stored until then. */
export function send(sample) {
  const { folder, title } = now();
  const entry = { ...sample, folder, title };
  waiting.set(entry.key, entry);
  refused.delete(entry.key);
  try {
    localStorage.setItem(PREFIX + entry.key, JSON.stringify(entry));
  } catch {
    // Without a store it still waits here, as long as the page is open.
  }
  flush();
}

/** Let go of a drawing: it is kept, or thrown away. */
export function forget(key) {
  waiting.delete(key);
  refused.delete(key);
  localStorage.removeItem(PREFIX + key);
  changed();
}

/** The drawings that are not sent until a person says so, each with why. */
export function stuck() {
  return [...waiting.values()].flatMap((entry) => {
    const elsewhere = `It was drawn for \u2068${entry.title}\u2069, which is not open now.`;
    const why = isElsewhere(entry) ? elsewhere : refused.get(entry.key);
    return why ? [{ ...entry, why }] : [];
  });
}

/** How many wait to be sent. */
export const unsent = () => waiting.size - stuck().length;

/** Call `watcher()` whenever something changes about those that wait. */
export const onUnsent = (watcher) => watchers.add(watcher);

function changed() {
  for (const watcher of watchers) watcher();
}

async function flush() {
  changed();
  if (sending || !now()) return;
  sending = true;
  for (const entry of waiting.values()) {
    if (isElsewhere(entry)) refused.delete(entry.key);
    if (isElsewhere(entry) || refused.has(entry.key)) continue;
    const { title, ...sample } = entry;
    try {
      const answer = await ask("/api/samples", sample);
      take(answer.state);
      forget(entry.key);
      answers.get(entry.key)?.resolve(answer);
    } catch (error) {
      if (error instanceof Lost) break;
      if (error.status === BUSY) {
        setTimeout(flush, 500);
        break;
      }
      if (!isElsewhere(entry)) refused.set(entry.key, error.message);
      answers.get(entry.key)?.reject(error);
      changed();
    }
    answers.delete(entry.key);
  }
  sending = false;
}

/** Take up what an earlier page could not send; what another tab sends or throws away is let go of. */
export function takeUp() {
  for (const name of Object.keys(localStorage).filter((key) => key.startsWith(PREFIX))) {
    try {
      const entry = JSON.parse(localStorage.getItem(name));
      waiting.set(entry.key, entry);
    } catch {
      localStorage.removeItem(name);
    }
  }
  addEventListener("storage", ({ key, newValue }) => {
    if (key?.startsWith(PREFIX) && newValue === null) forget(key.slice(PREFIX.length));
  });
  onState(flush);
}
