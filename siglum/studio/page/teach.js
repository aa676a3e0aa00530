// The Teach tab: see what a drawing or a sign of a photo is recognised as, and save it as an example.

import { post } from "./api.js";
import { addTab, isTabOpen, latest, pad, setTask } from "./bench.js";
import {
  announceSteady, attempt, byId, count, h, isolate, onClick, onSubmit, renderList, serverText, setEnabled, signName,
} from "./dom.js";
import { toast } from "./history.js";
import { copyText } from "./message.js";
import { submit } from "./outbox.js";
import * as photo from "./photo.js";
import { renderInput, showAnswer } from "./prediction.js";
import { addSigns, classById, ENOUGH, getActiveSign, getAuthor, getState, selectSign, subscribe } from "./store.js";

const MAX_SUGGESTIONS = 3;

let drawingId = 0; // another one each time that a drawing is begun
let prediction = null; // of that drawing
let previousSign = null; // the active sign as of the last change

const best = () => (prediction && !prediction.rejected && prediction.candidates[0]) || null;
const onlySign = () => (getState().classes.length === 1 ? getState().classes[0] : null);
const isEmpty = () => (photo.isPhotoOpen() ? !photo.getSign() : pad.isEmpty());

function startDrawing() {
  drawingId += 1;
  prediction = null;
  byId("save-name").value = "";
}

function handleChange() {
  if (isEmpty() || photo.isPhotoOpen()) startDrawing();
  if (photo.isPhotoOpen()) prediction = photo.getSign() ?? null;
  render();
  predict();
}

/** Predict what is on the pad. */
const predict = latest(async () => {
  if (!isTabOpen("teach") || photo.isPhotoOpen() || pad.isEmpty()) return;
  const id = drawingId;
  const next = await post("/api/predict", { drawing: pad.drawing(), heatmap: byId("why").open && !pad.isDrawing() });
  if (id !== drawingId) return;
  prediction = next;
  render();
});

function render() {
  if (!getState() || !isTabOpen("teach")) return;
  const sign = classById(getActiveSign());
  document.body.dataset.signs = Math.min(getState().classes.length, 2); // the style sheet hides what needs more
  byId("bench").toggleAttribute("data-ink", !isEmpty());
  setTask(...describeTask(sign));
  byId("stop").hidden = !sign || photo.isPhotoOpen();
  byId("save-form").hidden = isEmpty();
  byId("save-label").textContent = getState().classes.length ? "Another sign" : "Give it a name";
  if (isEmpty()) byId("headline").replaceChildren();
  else if (prediction) showAnswer(prediction, sign ?? onlySign(), (id) => attempt("bench-error", () => save(id)));
  setEnabled(byId("copy"), Boolean(best()));
  renderInput(prediction ?? undefined);
  renderSuggestions();
  announceSteady(byId("headline").firstChild?.textContent, () => byId("headline").innerText);
}

function describeTask(sign) {
  if (photo.isPhotoOpen()) return [photo.describePhoto()];
  if (!sign) return [getState().classes.length ? "Draw any of your signs" : "Teach it your own signs"];
  const progress = sign.in_fonts || sign.train >= ENOUGH ? count(sign.train, "drawing") : `${sign.train} of ${ENOUGH}`;
  return ["Draw ", signName(sign.name), h("span", { class: "quiet" }, progress)];
}

function renderSuggestions() {
  const others = getState().suggestions.filter((one) => one.class !== getActiveSign());
  const next = isEmpty() ? others.slice(0, MAX_SUGGESTIONS) : [];
  byId("next").hidden = !next.length;
  const items = next.map(({ class: id, message }) => ({ id, message, name: classById(id).name }));
  renderList(byId("suggestions"), items, ({ id, message, name }) => h("li", {},
    h("button", { type: "button", onclick: () => selectSign(id) }, "Draw ", signName(name)),
    h("span", { class: "quiet" }, serverText(message))));
}

/** Save the drawing under the name that was typed, else as the active sign, else as the best answer. */
async function submitForm() {
  if (isEmpty()) return;
  const name = byId("save-name").value.trim();
  const id = getActiveSign() ?? best()?.class ?? onlySign()?.id;
  if (!name && !id) return byId("save-name").focus();
  const savedId = drawingId;
  const [target] = name ? await addSigns([name]) : [id];
  if (savedId === drawingId) await save(target);
}

async function save(classId) {
  if (photo.isPhotoOpen()) return photo.saveSign(classId);
  const sending = submit({ class: classId, drawing: pad.drawing(), split: "train", author: getAuthor() });
  pad.reset();
  byId("pad").focus({ preventScroll: true });
  const answer = await sending.catch(() => null); // then a notice at the top gives the reason
  const sign = classById(classId);
  if (answer && sign) toast(`Saved to ${isolate(sign.name)} (${count(sign.train, "drawing")}).`, { undo: true });
}

/** Escape on the empty pad. */
function clear() {
  if (!getActiveSign()) return false;
  selectSign(null);
  return true;
}

function handleSelection() {
  const sign = getActiveSign();
  if (sign === previousSign) return;
  previousSign = sign;
  if (!sign || !isTabOpen("teach")) return;
  photo.closePhoto();
  const { top, bottom } = byId("pad").getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) byId("task").scrollIntoView();
  byId("pad").focus({ preventScroll: true });
}

export function startTeach() {
  addTab("teach", { change: handleChange, submit: () => attempt("bench-error", submitForm), clear });
  onSubmit("save-form", "bench-error", submitForm);
  onClick({ stop: () => selectSign(null), copy: () => best() && copyText(classById(best().class).output) });
  byId("why").addEventListener("toggle", predict);
  subscribe((state, isRemote) => {
    handleSelection();
    render();
    if (!isRemote) predict();
  });
}
