// Your signs: a card for each, a form to add more, and a dialog to change one.

import { pad } from "./bench.js";
import { byId, h, isolate, onSubmit, renderList, serverText, setOptions, signName, thumbnail } from "./dom.js";
import { accuracy, count } from "./format.js";
import { toast } from "./history.js";
import {
  addSigns, classById, ENOUGH, getActiveSign, getDrawings, getState, mutate, onDrawings, selectSign, subscribe,
} from "./store.js";

const AUTHOR = "siglum.author";
const CARD_THUMBNAILS = 3;

let panelSign = null; // id of the sign whose dialog is open

export const getAuthor = () => byId("author").value.trim();

function thumbnails(classId, maximum = Infinity) {
  const examples = getDrawings().filter((one) => one.class === classId && one.split === "train");
  return examples.slice(-maximum).map((one) => thumbnail(one, ""));
}

function describeStatus({ train, in_fonts: isInFonts }) {
  return train ? count(train, "drawing") : isInFonts ? "ready" : `draw it ${ENOUGH} times`;
}

function toggle(id) {
  const isActive = getActiveSign() === id;
  if (!isActive && !pad.isEmpty()) pad.clear(); // the drawing is of another sign; undo restores it
  selectSign(isActive ? null : id);
}

function renderCard({ id, name, status, level, isActive }) {
  return h("li", { "data-level": level },
    h("button", { type: "button", class: "card", title: "Draw it", "aria-pressed": String(isActive), onclick: () => toggle(id) },
      h("span", { class: "name" }, signName(name)),
      h("span", { class: "quiet status" }, status),
      h("span", { class: "thumbnails" }, thumbnails(id, CARD_THUMBNAILS))),
    h("button", { type: "button", class: "edit", title: "Rename, merge or delete", "aria-label": `Edit ${isolate(name)}`,
      onclick: () => openPanel(id) }, "⋯"));
}

function render() {
  const state = getState();
  if (!state) return;
  const cards = state.classes.map((one) => ({
    id: one.id, name: one.name, status: describeStatus(one), isActive: one.id === getActiveSign(),
    level: one.in_fonts || one.train >= ENOUGH ? "ready" : one.train ? "some" : "none",
    thumbnails: thumbnails(one.id, CARD_THUMBNAILS).map(({ src }) => src),
  }));
  renderList(byId("signs"), cards, renderCard);
  byId("add-label").textContent = ["What should it recognise?", "Add a second sign"][cards.length] ?? "New sign";
  const names = state.classes.map(({ id, name }) => ({ id, name }));
  renderList(byId("names"), names, ({ name }) => h("option", { value: name }));
  renderPanel();
}

function openPanel(id) {
  panelSign = id;
  byId("rename-name").value = classById(id).name;
  renderPanel();
  byId("sign-panel").showModal();
}

function renderPanel() {
  const sign = classById(panelSign);
  if (!sign) return byId("sign-panel").close();
  byId("panel-title").replaceChildren(signName(sign.name));
  const tested = sign.accuracy && `${accuracy(sign.accuracy)} Each is tested against the others.`;
  byId("panel-status").replaceChildren(...[tested ?? describeStatus(sign), ". ", sign.suggestion && serverText(sign.suggestion.message)].filter(Boolean));
  byId("panel-drawings").replaceChildren(...thumbnails(sign.id));
  setOptions(byId("merge-into"), getState().classes.filter(({ id }) => id !== sign.id));
}

async function change(action, body, message) {
  await mutate(`/api/classes/${panelSign}/${action}`, body);
  byId("sign-panel").close();
  toast(message, { undo: true });
}

async function merge() {
  const into = byId("merge-into").value;
  if (into) await change("merge", { into }, `Merged into ${classById(into).name}.`);
}

/** Split what was typed into names: at commas, and at spaces between single characters. */
function splitNames(text) {
  const words = text.trim().split(/\s+/);
  const areCharacters = words.every((word) => [...word].length === 1);
  const names = /[,;]/.test(text) ? text.split(/[,;]/) : areCharacters ? words : [text];
  return names.map((name) => name.trim()).filter(Boolean);
}

/** Add signs; then teach the first one that needs examples. */
async function add() {
  const names = splitNames(byId("add-name").value);
  if (!names.length) return;
  const ids = await addSigns(names);
  byId("add-name").value = "";
  const untaught = ids.map(classById).find((one) => !one.in_fonts && !one.train);
  if (untaught) selectSign(untaught.id);
  else byId("pad").focus({ preventScroll: true });
}

export function startSigns() {
  byId("author").value = localStorage.getItem(AUTHOR) ?? "";
  byId("author").addEventListener("change", () => localStorage.setItem(AUTHOR, getAuthor()));
  onSubmit("add-form", "signs-error", add);
  onSubmit("rename-form", "panel-error", () => change("rename", { name: byId("rename-name").value }, "Renamed."));
  onSubmit("merge-form", "panel-error", merge);
  onSubmit("delete-form", "panel-error", () => change("merge", { into: null }, `Deleted ${classById(panelSign).name}.`));
  subscribe(render);
  onDrawings(render);
}
