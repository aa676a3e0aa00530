// Messages at the bottom of the window, and copying.

import { announce, byId, serverText } from "./dom.js";

const TIME = 6000; // ms

let timer = 0;

/** Show a message; `button` shows the button that undoes something. */
export function showMessage(text, button = false) {
  announce(text);
  byId("toast-text").replaceChildren(serverText(text));
  byId("toast-undo").hidden = !button;
  byId("toast").hidden = false;
  clearTimeout(timer);
  timer = setTimeout(hideMessage, TIME);
}

export function hideMessage() {
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
  showMessage(isCopied ? message : "The browser blocks copying. The text is selected: press Ctrl-C.");
}
