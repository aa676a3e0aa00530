// Your signs: a card for each, a form to add more, and a dialog to change one.

import { get } from "./api.js";
import { pad } from "./bench.js";
import { accuracy, attempt, byId, count, h, isolate, onSubmit, renderList, serverText, setOptions, showError, signName, thumbnail } from "./dom.js";
import { toast } from "./history.js";
import {
  addSigns, classById, classByName, ENOUGH, getActiveSign, getAuthor, getDrawings, getState, mutate, needDrawings, onDrawings,
  selectSign, setAuthor, subscribe,
} from "./store.js";

const MAX_OFFERS = 3; // characters of a name that was typed
let groups = null; // characters of each group, once they are needed
let panelSign = null; // id of the sign whose dialog is open

const describeStatus = ({ train, in_fonts: isInFonts }) =>
  train ? count(train, "drawing") : isInFonts ? "ready" : `draw it ${ENOUGH} times`;

function toggle(id) {
  const isActive = getActiveSign() === id;
  if (!isActive && !pad.isEmpty()) pad.clear(); // the drawing is of another sign; undo restores it
  selectSign(isActive ? null : id);
}

function renderCard({ id, name, status, level, isActive, newest }) {
  return h("li", { "data-level": level },
    h("button", { type: "button", class: "card", title: "Draw it", "aria-pressed": String(isActive), onclick: () => toggle(id) },
      h("span", { class: "name" }, signName(name)),
      h("span", { class: "quiet status" }, status),
      h("span", { class: "thumbnails" }, newest.map((one) => thumbnail(one, "")))),
    h("button", { type: "button", class: "edit", title: "Rename, merge or delete", "aria-label": `Edit ${isolate(name)}`,
      onclick: () => openPanel(id) }, "⋯"));
}

function render() {
  const state = getState();
  if (!state) return;
  const cards = state.classes.map((one) => ({
    id: one.id, name: one.name, status: describeStatus(one), isActive: one.id === getActiveSign(),
    level: one.in_fonts || one.train >= ENOUGH ? "ready" : one.train ? "some" : "none", newest: one.newest,
  }));
  renderList(byId("signs"), cards, renderCard);
  byId("lookalikes").replaceChildren(...state.lookalikes.map((names) => h("li", {},
    names.flatMap((name) => [signName(name), " "]), "look the same. Keep only those that you use.")));
  byId("add-label").textContent = ["What should it recognise?", "Add a second sign"][cards.length] ?? "New sign";
  const names = state.classes.map(({ id, name }) => ({ id, name }));
  renderList(byId("names"), names, ({ name }) => h("option", { value: name }));
  renderPanel();
}

async function openPanel(id) {
  panelSign = id;
  const { name, output, in_fonts: isInFonts } = classById(id);
  byId("rename-name").value = name;
  byId("output").value = output === name ? "" : output;
  showError("panel-error");
  byId("panel-code").textContent = "";
  needDrawings("panel", true);
  renderPanel();
  byId("sign-panel").showModal();
  const [match] = isInFonts ? await searchNames(name) : [];
  if (panelSign === id && match?.text === name) byId("panel-code").textContent = `${match.name}, ${match.code_point}`;
}

function renderPanel() {
  const sign = classById(panelSign);
  if (!sign) return byId("sign-panel").close();
  const status = sign.accuracy ? accuracy(sign.accuracy) : describeStatus(sign);
  byId("panel-title").replaceChildren(signName(sign.name));
  byId("output").placeholder = sign.name;
  byId("panel-status").replaceChildren(status, h("br"), sign.suggestion ? serverText(sign.suggestion.message) : "");
  const examples = getDrawings().filter((one) => one.class === sign.id && one.split === "train");
  byId("panel-drawings").replaceChildren(...examples.map((one) => thumbnail(one)));
  setOptions(byId("merge-into"), getState().classes.filter(({ id }) => id !== sign.id));
}

async function change(action, body, message) {
  await mutate(`/api/classes/${panelSign}/${action}`, body);
  byId("sign-panel").close();
  toast(message, { undo: true });
}

/** Rename the sign; where another one has that name, offer to merge them. */
async function rename() {
  const name = byId("rename-name").value;
  const other = classByName(name);
  if (other && other.id !== panelSign) byId("merge-into").value = other.id;
  await change("rename", { name }, "Renamed.");
}

async function saveOutput() {
  const [output, { name, output: before }] = [byId("output").value, classById(panelSign)];
  if ((output || name) === before) byId("sign-panel").close();
  else await change("output", { output }, "Output saved.");
}

async function merge() {
  const into = byId("merge-into").value;
  if (into) await change("merge", { into }, `Merged into ${classById(into).name}.`);
}

/** Split what was typed into names: at commas, else at spaces and between characters of no word and no list such as σ|ς. */
function splitNames(text) {
  const parts = /[,;]/.test(text) ? text.split(/[,;]/) : text.split(/\s+/).flatMap((word) => (/[A-Za-z]|.\|./.test(word) ? [word] : [...word]));
  return [...new Set(parts.map((name) => name.trim()).filter(Boolean))];
}

const searchNames = (name) => get(`/api/find/name?${new URLSearchParams({ name })}`).catch(() => []);

/** Offer what else the text in the field may mean: one name, a group of characters, the character of that name. */
async function offer() {
  const text = byId("add-name").value.trim();
  const names = splitNames(text);
  const offers = [];
  if (names.length > 1) {
    offers.push({ id: "all", names, label: `Add ${count(names.length, "sign")}` });
    if (!/[,;]/.test(text)) offers.push({ id: "one", names: [text], label: `Add “${text}” as one sign` });
  } else if (text.length > 2) {
    groups ??= await get("/api/find/groups").catch(() => null);
    const members = [...(groups?.[text.toLowerCase()] ?? "")];
    if (members.length) offers.push({ id: text.toLowerCase(), names: members, label: `All ${members.length} characters of ${text.toLowerCase()}` });
    const matches = (await searchNames(text)).slice(0, MAX_OFFERS);
    offers.push(...matches.map((match) => ({ id: match.text, names: [match.text], label: `${match.text} ${match.name}` })));
  }
  if (byId("add-name").value.trim() === text) renderList(byId("add-offers"), offers, ({ id, names: some, label }) => h("li", {},
    h("button", { type: "button", onclick: () => attempt("signs-error", () => add(some, id === "latex")) }, h("bdi", {}, label))));
}

/** Add signs; then teach the first one that needs examples. */
async function add(names = splitNames(byId("add-name").value), latex = false) {
  if (!names.length) return;
  const ids = await addSigns(names, latex);
  byId("add-name").value = "";
  byId("add-offers").replaceChildren();
  const untaught = ids.map(classById).find((one) => !one.in_fonts && !one.train);
  if (untaught) selectSign(untaught.id);
  else byId("pad").focus({ preventScroll: true });
}

export function startSigns() {
  byId("author").value = getAuthor();
  byId("author").addEventListener("change", ({ target }) => setAuthor(target.value));
  onSubmit("add-form", "signs-error", () => add());
  byId("add-name").addEventListener("input", offer);
  byId("sign-panel").addEventListener("close", () => {
    panelSign = null;
    needDrawings("panel", false);
  });
  onSubmit("rename-form", "panel-error", rename);
  onSubmit("output-form", "panel-error", saveOutput);
  onSubmit("merge-form", "panel-error", merge);
  onSubmit("delete-form", "panel-error", () => change("merge", { into: null }, `Deleted ${classById(panelSign).name}.`));
  subscribe(render);
  onDrawings(renderPanel);
}
