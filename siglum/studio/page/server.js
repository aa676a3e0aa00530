// Asking the server, and noticing when it does not answer.

/** The server said no, in words. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Nobody answered, or nobody that speaks as the studio does, or it does not let this page in. */
export class Lost extends Error {}

/** This page asked to stop. */
export class Stopped extends Error {}

const SILENT = "The studio does not answer: its program may have ended.";
const LOCKED =
  "The studio does not let this page in any more: it was started again, with another token. Open the address that it printed, here or in another tab.";

const WAIT = 15000; // ms for an answer
const AGAIN = [500, 1000, 2000, 4000]; // ms between tries to find the server again

const watchers = new Set();
let lost = ""; // why, in words
let tries = 0;
let timer = 0;

/** Why the server is lost, in words; none if it is not. */
export const isLost = () => lost;

/** Call `watcher(words)` whenever the server goes, and with none when it comes back. */
export const onLost = (watcher) => watchers.add(watcher);

function tell(why) {
  if (why === lost) return;
  lost = why;
  for (const watcher of watchers) watcher(lost);
}

/** Look whether the server is back, at once or later and later. */
export function tryAgain(wait = 0) {
  clearTimeout(timer);
  timer = setTimeout(() => get("/api/state").catch(() => {}), wait);
}

async function answered(path, options, wait = WAIT, stop = null) {
  let response;
  try {
    const patience = AbortSignal.timeout(wait);
    const signal = stop ? AbortSignal.any([patience, stop]) : patience;
    response = await fetch(path, { ...options, signal, cache: "no-store" });
    const value = await response.json();
    if (response.status === 403) throw new Lost(LOCKED);
    tries = 0;
    tell("");
    if (response.ok) return value;
    throw new Refused(value.error ?? `The server answered ${response.status}.`, response.status);
  } catch (error) {
    if (error instanceof Refused) throw error;
    if (stop?.aborted) throw new Stopped("Cancelled.");
    const why = error instanceof Lost ? error.message : SILENT;
    tell(why);
    tryAgain(AGAIN[Math.min(tries++, AGAIN.length - 1)]);
    throw new Lost(why, { cause: error });
  }
}

export const get = (path) => answered(path, {});

export function ask(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return answered(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Send a file as it is; the signal `stop` ends that. */
export function send(path, file, type = file.type, stop = null) {
  const headers = { "Content-Type": type || "application/octet-stream" };
  return answered(path, { method: "POST", headers, body: file }, 600000, stop);
}
