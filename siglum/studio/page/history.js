// Undo and redo of what was done to the signs and their samples, at the head of every view.

import { byId, said, tell } from "./dom.js";
import { change, now, onState, refresh } from "./state.js";

const BUTTONS = { undo: ["take-back", "Undo"], redo: ["bring-back", "Redo"] };

let turning = false;

/** Undo or redo the last change, if it is still the one that this page shows. */
export async function turnBack(verb) {
  const last = now()?.[verb];
  if (!last || turning) return;
  turning = true;
  byId("history-said").replaceChildren();
  try {
    await change(`/api/${verb}`, { line: last.line });
    tell(verb === "undo" ? "Undone." : "Redone.");
  } catch (error) {
    byId("history-said").replaceChildren(said(error.message));
    refresh().catch(() => {});
  }
  turning = false;
}

export function startHistory() {
  for (const [verb, [id]] of Object.entries(BUTTONS)) {
    byId(id).addEventListener("click", () => turnBack(verb));
  }
  onState((state) => {
    for (const [verb, [id, word]] of Object.entries(BUTTONS)) {
      const last = state[verb];
      if (!last && document.activeElement === byId(id)) byId("main").focus();
      byId(id).hidden = !last;
      byId(id).replaceChildren(word, ...(last ? [": ", said(last.said)] : []));
    }
    byId("history").hidden = !state.undo && !state.redo;
  });
}
