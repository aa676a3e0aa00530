// Undo and redo of changes to signs and drawings, and messages that offer it.

import { byId, onClick, setEnabled } from "./dom.js";
import { hideMessage, showMessage } from "./message.js";
import { getState, mutate, refresh, subscribe } from "./store.js";

let isBusy = false;
let undoable = null; // the last change, while the message offers to undo
let undoMessage = null; // what its button does

/** Show a message; `undo` adds a button: true for the last change, or an action. */
export function toast(text, { undo = false } = {}) {
  undoable = undo ? getState().undo?.event : null;
  undoMessage = undo === true ? () => travel("undo") : undo;
  showMessage(text, Boolean(undo));
}

/** Undo or redo the last change, if it is still the one that this page shows. */
export async function travel(action) {
  const change = getState()?.[action];
  if (!change || isBusy) return;
  isBusy = true;
  hideMessage();
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
    if (undoable && state.undo?.event !== undoable) hideMessage();
  });
}
