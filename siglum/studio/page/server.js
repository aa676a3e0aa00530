// Asking the server, and noticing when it does not answer.

/** The server said no, in words. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Nobody answered, or nobody that speaks as the studio does. */
export class Lost extends Error {}

const WAIT = 15000; // ms for an answer
const AGAIN = [500, 1000, 2000, 4000]; // ms between tries to find the server again

const watchers = new Set();
let lost = false;
let tries = 0;
let timer = 0;

export const isLost = () => lost;

/** Call `watcher(lost)` whenever the server goes or comes back. */
export const onLost = (watcher) => watchers.add(watcher);

function tell(now) {
  if (now === lost) return;
  lost = now;
  for (const watcher of watchers) watcher(lost);
}

/** Look whether the server is back, at once or later and later. */
export function tryAgain(wait = 0) {
  clearTimeout(timer);
  timer = setTimeout(() => get("/api/state").catch(() => {}), wait);
}

async function answered(path, options, wait = WAIT) {
  let response;
  try {
    const signal = AbortSignal.timeout(wait);
    response = await fetch(path, { ...options, signal, cache: "no-store" });
    const value = await response.json();
    tries = 0;
    tell(false);
    if (response.ok) return value;
    throw new Refused(value.error ?? `The server answered ${response.status}.`, response.status);
  } catch (error) {
    if (error instanceof Refused) throw error;
    tell(true);
    tryAgain(AGAIN[Math.min(tries++, AGAIN.length - 1)]);
    throw new Lost("The studio does not answer.", { cause: error });
  }
}

export const get = (path) => answered(path, {});

export function ask(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return answered(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Send a file as it is. */
export function send(path, file, type = file.type) {
  const headers = { "Content-Type": type || "application/octet-stream" };
  return answered(path, { method: "POST", headers, body: file }, 600000);
}
