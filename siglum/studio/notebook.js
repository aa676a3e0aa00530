// The Studio's pad in a notebook, with the answer of the kernel.

import { h, signName } from "./dom.js";
import { createPad } from "./pad.js";

const PAUSE = 100; // ms between two drawings that are sent

function render({ model, el }) {
  const pause = { timer: 0, isSending: false };
  const canvas = h("canvas", {
    class: "pad", tabindex: "0", role: "application", "aria-label": "Pad", "aria-roledescription": "drawing pad",
  });
  const [answers, note] = [h("ol", { class: "answers" }), h("p", { class: "note", "aria-live": "polite" })];
  const live = h("p", { class: "hidden-text", "aria-live": "polite" });
  const button = (text, onclick) => h("button", { type: "button", onclick }, text);
  const tools = [button("Undo", () => pad.undo()), button("Redo", () => pad.redo()), button("Clear", () => pad.clear())];
  el.classList.add("siglum-pad");
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab's: arrow keys move the pen, not the cell
  el.append(h("div", { class: "paper" }, canvas), h("div", { class: "tools" }, tools), answers, note, live);

  function send() {
    Object.assign(pause, { timer: 0, isSending: true });
    model.set("drawing", pad.drawing());
    pause.isSending = false;
    model.save_changes();
  }
  const onchange = () => (pause.timer ||= setTimeout(send, PAUSE));
  const pad = createPad(canvas, { onchange, announce: (text) => (live.textContent = text) });

  function showDrawing() {
    const { strokes = [] } = model.get("drawing");
    const isNew = JSON.stringify(strokes) !== JSON.stringify(pad.drawing().strokes);
    if (isNew && !pause.isSending && !pad.isDrawing()) pad.reset(strokes);
  }
  function showAnswer() {
    const { rows, note: text } = model.get("answer");
    const items = rows.map(([name, share]) => h("li", {}, signName(name), " ", h("span", { class: "share" }, share)));
    answers.replaceChildren(...items);
    if (note.textContent !== text) note.textContent = text;
  }
  model.on("change:drawing", showDrawing);
  model.on("change:answer", showAnswer);
  showDrawing();
  showAnswer();
  return () => {
    clearTimeout(pause.timer);
    model.off("change:drawing", showDrawing);
    model.off("change:answer", showAnswer);
  };
}

export default { render };
