// Your signs: a card for each, a panel to change the active one, and a form to add more.

import { byId, h, onClick, onSubmit, renderList, serverText, setOptions, showError, signName } from "./dom.js";
import { accuracy, count } from "./format.js";
import { toast } from "./history.js";
import { onDrawings, thumbnails } from "./drawings.js";
import { classById, getActiveSign, getState, mutate, selectSign, subscribe } from "./store.js";
import { addFromField, pad } from "./teach.js";

const CARD_THUMBNAILS = 4;

let panelSign; // the sign that the panel was opened for

function describeStatus({ train, in_fonts: isInFonts }) {
  if (train) return count(train, "drawing");
  return isInFonts ? "ready" : "draw it 3 times";
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
    id: one.id,
    name: one.name,
    status: describeStatus(one),
    suggestion: state.ready && one.suggestion?.message,
    isActive: one.id === getActiveSign(),
    thumbnails: thumbnails(one.id, CARD_THUMBNAILS).map(({ src }) => src),
  }));
  renderList(byId("signs"), cards, renderCard);
  byId("signs").classList.toggle("stale", !state.up_to_date);
  renderList(byId("names"), state.classes.map(({ id, name }) => ({ id, name })), ({ name }) => h("option", { value: name }));
  byId("add-form").hidden = state.classes.length < 2;
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

/** Change the active sign, and report what was done or why not. */
async function change(action, body, message) {
  const id = getActiveSign();
  showError("signs-error");
  try {
    await mutate(`/api/classes/${id}/${action}`, body);
    toast(message, { undo: true });
    if (!classById(id)) byId("signs-title").focus();
  } catch (error) {
    showError("signs-error", error);
  }
}

function merge() {
  const into = byId("merge-into").value;
  if (into) change("merge", { into }, `Merged into ${classById(into).name}.`);
}

export function startSigns() {
  onSubmit("add-form", () => addFromField(byId("add-name"), "signs-error"));
  onSubmit("rename-form", () => change("rename", { name: byId("rename-name").value }, "Renamed."));
  onSubmit("merge-form", merge);
  onClick({ "delete-sign": () => change("delete", {}, `Deleted ${classById(getActiveSign()).name}.`) });
  subscribe(render);
  onDrawings(render);
}
