// Undo and redo of what was done to the signs and their samples, at the head of every view.

import { byId, said, tell } from "./dom.js";
import { change, now, onState } from "./state.js";

const BUTTONS = { undo: ["take-back", "Undo"], redo: ["bring-back", "Redo"] };

/** Undo or redo the last change. */
export async function turnBack(verb) {
  if (!now()?.[verb]) return;
  byId("history-said").replaceChildren();
  try {
    await change(`/api/${verb}`);
    tell(verb === "undo" ? "Undone." : "Redone.");
  } catch (error) {
    byId("history-said").replaceChildren(said(error.message));
  }
}

export function startHistory() {
  for (const [verb, [id]] of Object.entries(BUTTONS)) {
    byId(id).addEventListener("click", () => turnBack(verb));
  }
  onState((state) => {
    byId("history").hidden = !state.undo && !state.redo;
    for (const [verb, [id, word]] of Object.entries(BUTTONS)) {
      byId(id).hidden = !state[verb];
      byId(id).replaceChildren(word, ...(state[verb] ? [": ", said(state[verb])] : []));
    }
  });
}
