// Your signs: a card for each, a panel to change the active one, and a form to add more.

import { byId, h, onSubmit, renderList, serverText, setOptions, signName, thumbnail } from "./dom.js";
import { accuracy, count } from "./format.js";
import { toast } from "./history.js";
import { classById, getActiveSign, getDrawings, getState, mutate, onDrawings, selectSign, subscribe } from "./store.js";
import { addFromField, pad } from "./teach.js";

const CARD_THUMBNAILS = 4;
let panelSign; // the sign that the panel was opened for

function thumbnails(classId, maximum = Infinity) {
  const examples = getDrawings().filter((one) => one.class === classId && one.split === "train");
  return examples.slice(-maximum).map((one) => thumbnail(one, ""));
}

function describeStatus({ train, in_fonts: isInFonts }) {
  return train ? count(train, "drawing") : isInFonts ? "ready" : "draw it 3 times";
}

function toggle(id) {
  const isActive = getActiveSign() === id;
  if (!isActive && !pad.isEmpty()) pad.clear(); // the drawing is of another sign; undo restores it
  selectSign(isActive ? null : id);
}

function renderCard({ id, name, status, suggestion, isActive }) {
  const title = "Draw, rename, merge or delete";
  return h("li", {},
    h("button", { type: "button", title, "aria-pressed": String(isActive), onclick: () => toggle(id) },
      h("span", { class: "name" }, signName(name)),
      h("span", { class: "quiet status" }, status)),
    h("span", { class: "thumbnails" }, thumbnails(id, CARD_THUMBNAILS)),
    h("p", { class: "suggestion" }, suggestion && serverText(suggestion)));
}

function render() {
  const state = getState();
  if (!state) return;
  const cards = state.classes.map((one) => ({
    id: one.id, name: one.name, status: describeStatus(one),
    suggestion: state.ready && one.suggestion?.message,
    isActive: one.id === getActiveSign(),
    thumbnails: thumbnails(one.id, CARD_THUMBNAILS).map(({ src }) => src),
  }));
  renderList(byId("signs"), cards, renderCard);
  byId("signs").classList.toggle("stale", !state.up_to_date);
  const names = state.classes.map(({ id, name }) => ({ id, name }));
  renderList(byId("names"), names, ({ name }) => h("option", { value: name }));
  renderPanel(classById(getActiveSign()));
}

function renderPanel(sign) {
  byId("sign-panel").hidden = !sign;
  if (panelSign !== sign?.id) byId("rename-name").value = sign?.name ?? "";
  panelSign = sign?.id;
  if (!sign) return;
  byId("panel-title").replaceChildren(signName(sign.name));
  const tested = sign.accuracy && `${accuracy(sign.accuracy)} Each is tested against the others.`;
  byId("panel-status").textContent = tested ?? describeStatus(sign);
  byId("panel-drawings").replaceChildren(...thumbnails(sign.id));
  setOptions(byId("merge-into"), getState().classes.filter(({ id }) => id !== sign.id));
}

async function change(action, body, message) {
  const id = getActiveSign();
  await mutate(`/api/classes/${id}/${action}`, body);
  toast(message, { undo: true });
  if (!classById(id)) byId("signs-title").focus();
}

async function merge() {
  const into = byId("merge-into").value;
  if (into) await change("merge", { into }, `Merged into ${classById(into).name}.`);
}

export function startSigns() {
  onSubmit("add-form", "signs-error", () => addFromField(byId("add-name")));
  onSubmit("rename-form", "signs-error", () => change("rename", { name: byId("rename-name").value }, "Renamed."));
  onSubmit("merge-form", "signs-error", merge);
  onSubmit("delete-form", "signs-error", () => change("merge", { into: null }, `Deleted ${classById(getActiveSign()).name}.`));
  subscribe(render);
  onDrawings(render);
}
