// Drawings on their way to the server. They stay in the browser until the server says that they
// are on its disk; a drawing that is sent twice has the same key and is kept once.

import { randomId } from "./dom.js";
import { ask, isLost, Lost, onLost, Refused } from "./server.js";
import { take } from "./state.js";

const PREFIX = "siglum.unsent.";
const BUSY = 429;

const waiting = new Map(); // by key
const answers = new Map(); // by key: {resolve, reject} of who kept it, if this page did
const watchers = new Set();
let sending = false;

/** Keep a drawing: {class, drawing, part, writer}. Resolves with the server's answer. */
export function keep(sample) {
  const entry = { ...sample, key: randomId() };
  waiting.set(entry.key, entry);
  try {
    localStorage.setItem(PREFIX + entry.key, JSON.stringify(entry));
  } catch {
    // Without a store it still waits here, as long as the page is open.
  }
  const kept = new Promise((resolve, reject) => answers.set(entry.key, { resolve, reject }));
  for (const watcher of watchers) watcher();
  flush();
  return kept;
}

export const unsent = () => waiting.size;

/** Call `watcher()` whenever more or fewer drawings wait. */
export const onUnsent = (watcher) => watchers.add(watcher);

function done(key) {
  waiting.delete(key);
  localStorage.removeItem(PREFIX + key);
  const whose = answers.get(key);
  answers.delete(key);
  for (const watcher of watchers) watcher();
  return whose;
}

async function flush() {
  if (sending) return;
  sending = true;
  for (const entry of waiting.values()) {
    try {
      const answer = await ask("/api/samples", entry);
      take(answer.state);
      done(entry.key)?.resolve(answer);
    } catch (error) {
      if (error instanceof Lost) break;
      if (error instanceof Refused && error.status === BUSY) {
        setTimeout(flush, 500);
        break;
      }
      done(entry.key)?.reject(error);
    }
  }
  sending = false;
}

/** Take up what an earlier page could not send. */
export function takeUp() {
  for (const name of Object.keys(localStorage).filter((key) => key.startsWith(PREFIX))) {
    try {
      const entry = JSON.parse(localStorage.getItem(name));
      waiting.set(entry.key, entry);
    } catch {
      localStorage.removeItem(name);
    }
  }
  onLost((lost) => lost || flush());
  if (!isLost()) flush();
}
