// Undo and redo of changes to signs and drawings, and messages that offer it.

import { announce, byId, onClick, serverText, setEnabled } from "./dom.js";
import { getState, mutate, refresh, subscribe } from "./store.js";

const TOAST = 6000; // ms

let isBusy = false;
let toastTimer = 0;
let undoable = null; // the last change, while the message offers to undo
let undoMessage = null; // what its button does

/** Show a message at the bottom of the window; `undo` adds a button: true for the last change, or an action. */
export function toast(text, { undo = false } = {}) {
  announce(text);
  byId("toast-text").replaceChildren(serverText(text));
  undoable = undo ? getState().undo?.event : null;
  undoMessage = undo === true ? () => travel("undo") : undo;
  byId("toast-undo").hidden = !undo;
  byId("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(hideToast, TOAST);
}

function hideToast() {
  if (byId("toast").contains(document.activeElement)) byId("main").focus();
  byId("toast").hidden = true;
}

/** Copy a text. Without https there is no clipboard object, so a selection is copied, which may be blocked as well. */
export async function copyText(text) {
  byId("copied").className = "hidden-text";
  byId("copied").textContent = text;
  getSelection().selectAllChildren(byId("copied"));
  const isCopied = await (navigator.clipboard?.writeText(text).then(() => true, () => false) ?? document.execCommand("copy"));
  if (isCopied) byId("copied").textContent = "";
  else byId("copied").className = "";
  const message = [...text].length > 40 ? "Copied." : `Copied ${text}`;
  toast(isCopied ? message : "The browser blocks copying. The text is selected: press Ctrl-C.");
}

/** Undo or redo the last change, if it is still the one that this page shows. */
export async function travel(action) {
  const change = getState()?.[action];
  if (!change || isBusy) return;
  isBusy = true;
  hideToast();
  try {
    await mutate(`/api/${action}`, { event: change.event });
    toast(action === "undo" ? "Undone." : "Redone.");
  } catch (error) {
    toast(error.message);
    refresh().catch(() => {});
  }
  isBusy = false;
}

export function startHistory() {
  onClick({ undo: () => travel("undo"), redo: () => travel("redo"), "toast-undo": () => undoMessage() });
  subscribe((state) => {
    for (const action of ["undo", "redo"]) {
      setEnabled(byId(action), Boolean(state[action]));
      byId(action).title = state[action]?.description ?? `Nothing to ${action}`;
    }
    if (undoable && state.undo?.event !== undoable) hideToast();
  });
}
