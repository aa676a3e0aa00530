// Drawings on their way to the server. They stay in the browser's storage until they are on its disk;
// sent twice, a drawing is saved once, by its id. One that is refused, or that belongs to another set
// than the open one, waits for a decision by the user.

import { connectionProblem, Disconnected, onConnection, post, reconnect } from "./api.js";
import { byId, count, isolate, onClick, onSubmit, randomId, serverText, setOptions } from "./dom.js";
import { drawStroke } from "./pad.js";
import { classById, getState, setState, subscribe } from "./store.js";

const PREFIX = "siglum.outbox.";

const entries = new Map(); // by id: {id, class, drawing, split, author, set_id, title}, and the reason of a refusal
const callers = new Map(); // by id: {resolve, reject}
let isSending = false;
let visibleId = null; // of the drawing that waits for a decision

const isForOtherSet = (entry) => entry.set_id !== getState().set_id;

/** Send a drawing; resolves with the server's answer, which may take until the server is back. */
export function submit(drawing) {
  const id = randomId();
  const answer = new Promise((resolve, reject) => callers.set(id, { resolve, reject }));
  enqueue({ ...drawing, id });
  return answer;
}

/** The drawings that need a decision, each with the reason. */
function blocked() {
  return [...entries.values()].filter((entry) => getState() && (entry.reason || isForOtherSet(entry))).map((entry) => ({
    ...entry,
    reason: isForOtherSet(entry) ? `It was drawn for ${isolate(entry.title)}, which is not open now.` : entry.reason,
  }));
}

function enqueue(drawing) {
  const { set_id, title } = getState();
  const entry = { ...drawing, set_id, title, reason: undefined };
  entries.set(entry.id, entry);
  try {
    localStorage.setItem(PREFIX + entry.id, JSON.stringify(entry));
  } catch {
    // Without storage it still waits here, as long as the page is open.
  }
  flush();
}

function remove(id) {
  entries.delete(id);
  localStorage.removeItem(PREFIX + id);
  render();
}

async function flush() {
  render();
  if (isSending || !getState()) return;
  isSending = true;
  for (const entry of entries.values()) {
    if (connectionProblem()) break;
    if (!entry.reason && !isForOtherSet(entry) && !(await send(entry))) break;
  }
  isSending = false;
}

/** Send one drawing; false if the others have to wait. */
async function send({ title, reason, ...entry }) {
  const { id } = entry;
  try {
    const answer = await post("/api/drawings", entry);
    setState(answer.state);
    remove(id);
    callers.get(id)?.resolve(answer);
  } catch (error) {
    if (error instanceof Disconnected) return false;
    entries.get(id).reason = error.status === 412 ? undefined : error.message;
    callers.get(id)?.reject(error);
    render();
  }
  callers.delete(id);
  return true;
}

function render() {
  const waiting = blocked();
  const pending = entries.size - waiting.length;
  const verb = pending === 1 ? "is" : "are";
  const safe = `${count(pending, "drawing")} ${verb} safe here and will be sent when Siglum runs again.`;
  byId("disconnected").hidden = !connectionProblem();
  byId("connection").textContent = `${connectionProblem()} ${pending ? safe : "What you draw stays on this page."}`;
  renderBlocked(waiting);
}

function renderBlocked(waiting) {
  const [entry] = waiting;
  const isNew = visibleId !== entry?.id;
  visibleId = entry?.id;
  byId("unsaved").hidden = !entry;
  if (!entry) return;
  const text = `${count(waiting.length, "drawing")} not saved. ${entry.reason}`;
  if (byId("unsaved-reason").textContent !== text) byId("unsaved-reason").replaceChildren(serverText(text));
  setOptions(byId("unsaved-class"), getState().classes);
  if (!isNew) return;
  if (classById(entry.class)) byId("unsaved-class").value = entry.class;
  const canvas = byId("unsaved-drawing");
  canvas.width = canvas.height; // clears it
  const context = canvas.getContext("2d");
  context.fillStyle = context.strokeStyle = getComputedStyle(canvas).color;
  for (const stroke of entry.drawing.strokes) drawStroke(context, stroke, canvas.width, canvas.height);
}

/** Resume with the drawings that an earlier page could not send. */
export function startOutbox() {
  for (const key of Object.keys(localStorage).filter((name) => name.startsWith(PREFIX))) {
    const entry = JSON.parse(localStorage.getItem(key));
    entries.set(entry.id, entry);
  }
  addEventListener("storage", ({ key, newValue }) => {
    if (key?.startsWith(PREFIX) && newValue === null) remove(key.slice(PREFIX.length));
  });
  onSubmit("unsaved-form", "bench-error", () => {
    enqueue({ ...entries.get(visibleId), class: byId("unsaved-class").value });
    byId("main").focus();
  });
  onClick({ discard: () => remove(visibleId), reconnect: () => reconnect() });
  onConnection(render);
  render();
  subscribe(flush);
}
