// The Review view: all drawings, a row for each sign; moved by dragging, by touch or by keys.

import { attempt, byId, count, h, isolate, onClick, onSubmit, percent, renderList, setOptions, signName, thumbnail } from "./dom.js";
import { toast, travel } from "./history.js";
import { classById, classByName, getDrawings, getState, mutate, onDrawings, subscribe } from "./store.js";

const selection = new Set(); // ids of drawings
const skipped = new Map(); // when the user was last not sure of a suspicious drawing, by id
let isDeciding = false;
let dragged = []; // ids of the drawings that are being dragged

const ownDrawings = () => getDrawings().filter(({ own }) => own !== false); // a pupil changes only their own

function visibleDrawings() {
  const { sign, split, suspicious } = Object.fromEntries(new FormData(byId("filters")));
  const passes = (one) =>
    (!sign || one.class === sign) && (!split || one.split === split) && (!suspicious || one.suspect);
  const byClass = Map.groupBy(ownDrawings().filter(passes), (one) => one.class);
  return { byClass, isFiltered: Boolean(sign || split || suspicious) };
}

function renderRow({ id, name }) {
  return h("li", { "data-class": id },
    h("div", { class: "row-head" }, h("span", { class: "name" }, signName(name)), h("span", { class: "quiet" })),
    h("div", { class: "row", role: "group", "aria-label": `Drawings of ${isolate(name)}` }));
}

const describe = (other, { probability }) =>
  other ? `looks like ${isolate(other)}, ${percent(probability)}` : "looks like none of your signs";

function renderDrawing({ id, author, isSelected, name, other, photo, split, suspect }) {
  const isSuspicious = Boolean(suspect);
  const looksLike = isSuspicious && describe(other, suspect);
  const origin = [split === "test" && "test", author && `by ${isolate(author)}`];
  const parts = [isolate(name), isSuspicious && looksLike, ...origin];
  const description = parts.filter(Boolean).join(", ");
  const accept = h("button", { type: "button", class: "mark-text", title: `Move it to ${other}`,
    onclick: () => attempt("review-error", () => move([id], suspect.prediction)) }, "→ ", signName(other ?? ""));
  return h("div", { class: isSuspicious ? "item suspicious" : "item" },
    h("div", {
      "data-drawing": id, role: "checkbox", tabindex: 0, draggable: "true",
      "aria-checked": String(isSelected), "aria-label": description, title: description,
    }, thumbnail({ id, photo }, "")),
    isSuspicious && other ? accept : h("span", { class: "mark-text" }, isSuspicious ? "→ ?" : split === "test" && "test"));
}

/** The suspicious drawings, the surest first; those that were skipped come last. */
const suspects = () => ownDrawings().filter(({ suspect }) => suspect).sort((one, other) =>
  (skipped.get(one.id) ?? 0) - (skipped.get(other.id) ?? 0) || other.suspect.probability - one.suspect.probability);

/** Ask about the first of them. */
function renderSuspect([one]) {
  byId("suspect").hidden = !one;
  if (!one) return;
  const [own, other] = [one.class, one.suspect.prediction].map((id) => classById(id)?.name);
  renderList(byId("suspect-image"), [one], (drawing) => thumbnail(drawing));
  byId("suspect-title").replaceChildren("Is this ", signName(own ?? ""), "?");
  byId("suspect-guess").textContent = `It ${describe(other, one.suspect)}.`;
  byId("suspect-accept").hidden = !other;
  byId("suspect-accept").replaceChildren("No, move to ", signName(other ?? ""));
}

/** Act on the drawing that the card shows. */
async function decide(action) {
  const [one] = suspects();
  if (isDeciding || !one || (action === "accept" && !classById(one.suspect.prediction))) return;
  if (action === "skip") skipped.set(one.id, performance.now());
  if (action === "other") {
    select([one.id]);
    byId("move-into").focus();
  }
  if (["skip", "other"].includes(action)) return renderReview();
  isDeciding = true;
  try {
    const classId = { accept: one.suspect.prediction, keep: one.class, delete: null }[action];
    await mutate("/api/drawings/move", { drawings: [one.id], class: classId });
    one.suspect = null; // until the list is fetched again
    const name = classById(classId)?.name;
    toast({ accept: `Moved to ${name}.`, keep: `Kept in ${name}.`, delete: "Deleted." }[action], { undo: true });
  } finally {
    isDeciding = false;
    renderReview();
  }
}

function decideByKey(event) {
  const action = { a: "accept", k: "keep", o: "other", d: "delete", s: "skip" }[event.key];
  const isElsewhere = byId("view-review").hidden || event.target.closest("#sheet, select, input:not([type=checkbox])");
  if (!action || isElsewhere || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  event.preventDefault();
  attempt("review-error", () => decide(action));
}

/** Show the drawings; called when the view opens, too. */
export function renderReview() {
  const state = getState();
  if (!state || byId("view-review").hidden) return;
  const suspicious = suspects();
  renderSuspect(suspicious);
  byId("suspicious").hidden = !suspicious.length;
  byId("suspicious-count").textContent = `${count(suspicious.length, "drawing")} may be in the wrong place.`;
  if (!suspicious.length) byId("filter-suspicious").checked = false;
  byId("accept-all").hidden = !suggestedMoves().length;
  setOptions(byId("filter-class"), [{ id: "", name: "all" }, ...state.classes]);
  const { byClass, isFiltered } = visibleDrawings();
  const ids = new Set([...byClass.values()].flat().map(({ id }) => id));
  for (const id of selection) if (!ids.has(id)) selection.delete(id);
  const rows = state.classes.filter(({ id }) => byClass.has(id) || !isFiltered).map(({ id, name }) => ({ id, name }));
  renderList(byId("sheet"), rows, renderRow);
  for (const row of byId("sheet").children) {
    const drawings = byClass.get(row.dataset.class) ?? [];
    row.querySelector(".quiet").textContent = drawings.length;
    drawings.sort((one, other) => Boolean(other.suspect) - Boolean(one.suspect)); // suspicious ones first
    renderList(row.lastElementChild, drawings.map((one) => ({
      ...one,
      name: classById(one.class)?.name ?? "",
      other: classById(one.suspect?.prediction)?.name,
      isSelected: selection.has(one.id),
    })), renderDrawing);
  }
  byId("selection").textContent = `${count(selection.size, "drawing")} selected`;
  byId("move-form").hidden = !selection.size;
}

/** Drawings that look like another sign. */
const suggestedMoves = () => suspects().filter(({ suspect }) => classById(suspect.prediction));

/** Move all of them, in one change for each sign. */
async function acceptAll() {
  const moves = suggestedMoves();
  const byTarget = Map.groupBy(moves, ({ suspect }) => suspect.prediction);
  for (const [target, some] of byTarget) await mutate("/api/drawings/move", { drawings: some.map(({ id }) => id), class: target });
  const undo = async () => {
    for (let times = byTarget.size; times > 0; times -= 1) await travel("undo");
  };
  toast(`Moved ${count(moves.length, "drawing")}.`, { undo });
}

function select(ids, isSelected = true) {
  for (const id of ids) isSelected ? selection.add(id) : selection.delete(id);
  renderReview();
}

const toggle = (id) => select([id], !selection.has(id));

async function change(body, message) {
  await mutate("/api/drawings/move", body);
  selection.clear();
  renderReview();
  toast(message, { undo: true });
  byId("sheet").querySelector("[data-drawing]")?.focus({ preventScroll: true });
}

async function move(ids, classId) {
  const drawings = ids.filter((id) => getDrawings().some((one) => one.id === id && one.class !== classId));
  if (!drawings.length) return select(ids, false);
  const message = `Moved ${count(drawings.length, "drawing")} to ${classById(classId)?.name}.`;
  await change({ drawings, class: classId }, message);
}

async function submitMove() {
  const name = byId("move-into").value.trim();
  if (!name || !selection.size) return;
  const sign = classByName(name);
  if (!sign) throw new Error(`You have no sign ${isolate(name)}. Choose one of the list, or add it under Teach.`);
  byId("move-into").value = "";
  await move([...selection], sign.id);
}

async function remove() {
  const drawings = [...selection];
  if (drawings.length) await change({ drawings, class: null }, `Deleted ${count(drawings.length, "drawing")}.`);
}

function neighbour(element, key) {
  const all = [...byId("sheet").querySelectorAll("[data-drawing]")];
  const step = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
  if (key === "ArrowLeft" || key === "ArrowRight") return all[all.indexOf(element) + step];
  const rows = [...new Set(all.map((one) => one.closest(".row")))];
  return rows[rows.indexOf(element.closest(".row")) + step]?.querySelector("[data-drawing]");
}

function handleKey(event) {
  const element = event.target.closest("[data-drawing]");
  if (!element || event.ctrlKey || event.metaKey || event.altKey) return;
  const id = element.dataset.drawing;
  if (event.key.startsWith("Arrow")) neighbour(element, event.key)?.focus();
  else if (event.key === " ") toggle(id);
  else if (event.key === "Enter" || event.key === "Delete") {
    select([id]);
    if (event.key === "Delete") attempt("review-error", remove);
    else byId("move-into").focus();
  } else return;
  event.preventDefault();
}

/** Drag drawings to the row of another sign; a finger scrolls instead, and selects by a tap. */
function startDragging(sheet) {
  const rowOf = (event) => (dragged.length ? event.target.closest("[data-class]") : null);
  const highlight = (row) => {
    sheet.querySelector(".over")?.classList.remove("over");
    row?.classList.add("over");
  };
  sheet.addEventListener("dragstart", (event) => {
    const { drawing } = event.target.closest("[data-drawing]").dataset;
    dragged = selection.has(drawing) ? [...selection] : [drawing];
    event.dataTransfer.setData("text/plain", count(dragged.length, "drawing"));
  });
  sheet.addEventListener("dragover", (event) => {
    highlight(rowOf(event));
    if (rowOf(event)) event.preventDefault();
  });
  sheet.addEventListener("drop", (event) => {
    if (!rowOf(event)) return;
    event.preventDefault();
    const { class: classId } = rowOf(event).dataset;
    attempt("review-error", () => move(dragged, classId));
  });
  sheet.addEventListener("dragend", () => {
    highlight(null);
    dragged = [];
  });
}

export function startReview() {
  byId("filters").addEventListener("change", renderReview);
  onSubmit("move-form", "review-error", submitMove);
  addEventListener("keydown", decideByKey);
  for (const action of ["accept", "keep", "other", "delete", "skip"]) {
    onClick({ [`suspect-${action}`]: () => attempt("review-error", () => decide(action)) });
  }
  onClick({
    remove: () => attempt("review-error", remove), deselect: () => select([...selection], false),
    "accept-all": () => attempt("review-error", acceptAll),
  });
  byId("sheet").addEventListener("keydown", handleKey);
  byId("sheet").addEventListener("click", (event) => {
    const element = event.target.closest("[data-drawing]");
    if (element) toggle(element.dataset.drawing);
  });
  startDragging(byId("sheet"));
  subscribe(renderReview);
  onDrawings(renderReview);
}
