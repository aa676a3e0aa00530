// Requests to the server, and noticing when it is gone.

/** The server refused a request; the status is for programs, the message for people. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The server does not answer, or does not let this page in. */
export class Disconnected extends Error {}

const LOCKED_OUT =
  "This link no longer works. Open the new one, here or in another tab.";
const TIMEOUT = 15_000; // ms
const UPLOAD_TIMEOUT = 600_000; // ms
const RETRIES = [1000, 2000, 4000]; // ms between attempts to reach the server again

const listeners = new Set();
let problem = "";
let attempts = 0;
let retryTimer = 0;

/** Why the server cannot be reached; empty while it can. */
export const connectionProblem = () => problem;

/** Call `listener(problem)` whenever the connection is lost or restored. */
export const onConnection = (listener) => listeners.add(listener);

function setProblem(next) {
  if (next === problem) return;
  problem = next;
  for (const listener of listeners) listener(problem);
}

export function reconnect(wait = 0) {
  clearTimeout(retryTimer);
  retryTimer = setTimeout(() => get("/api/state").catch(() => {}), wait);
}

function disconnect(reason, cause) {
  reconnect(RETRIES[Math.min(attempts++, RETRIES.length - 1)]);
  setProblem(reason);
  return new Disconnected(reason, { cause });
}

async function request(path, options, timeout = TIMEOUT) {
  let response;
  let value;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(timeout), cache: "no-store" });
    value = response.status === 403 ? null : await response.json();
  } catch (error) {
    throw disconnect("Connection lost.", error);
  }
  if (response.status === 403) throw disconnect(LOCKED_OUT);
  attempts = 0;
  clearTimeout(retryTimer);
  setProblem("");
  if (response.ok) return value;
  throw new ApiError(response.status, value.detail);
}

export const get = (path) => request(path, {});

export function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body) });
}

export function upload(path, file, type = file.type) {
  const headers = { "Content-Type": type || "application/octet-stream" };
  return request(path, { method: "POST", headers, body: file }, UPLOAD_TIMEOUT);
}
