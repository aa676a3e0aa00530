// The Review view: all drawings, a row for each sign; moved by dragging, by touch or by keys.

import { byId, h, isolate, onClick, onSubmit, renderList, setEnabled, setOptions, showError, signName } from "./dom.js";
import { getDrawings, onDrawings, thumbnail } from "./drawings.js";
import { count, percent } from "./format.js";
import { toast } from "./history.js";
import { classById, getState, mutate, subscribe } from "./store.js";
import { addSigns } from "./teach.js";

const selection = new Set(); // ids of drawings
let dragged = []; // ids of the drawings that are being dragged

/** The drawings that pass the filters, by class. */
function visibleDrawings() {
  const [sign, split] = [byId("filter-class").value, byId("filter-split").value];
  const isStrict = byId("filter-suspicious").checked;
  const passes = (one) =>
    (!sign || one.class === sign) && (!split || one.split === split) && (!isStrict || one.correct === false);
  const isFiltered = Boolean(sign || split || isStrict);
  return { isFiltered, byClass: Map.groupBy(getDrawings().filter(passes), (one) => one.class) };
}

function renderRow({ id, name }) {
  return h("li", { "data-class": id },
    h("div", { class: "row-head" }, h("span", { class: "name" }, signName(name)), h("span", { class: "quiet" })),
    h("div", { class: "row", role: "group", "aria-label": `Drawings of ${isolate(name)}` }));
}

function renderDrawing({ id, author, correct, isSelected, name, other, photo, probability, split }) {
  const isSuspicious = correct === false;
  const looksLike = other ? `looks like ${isolate(other)}, ${percent(probability)}` : "looks like none of your signs";
  const parts = [isolate(name), isSuspicious && looksLike, split === "test" && "test", author && `by ${isolate(author)}`];
  const description = parts.filter(Boolean).join(", ");
  const attributes = { "data-drawing": id, draggable: "true", role: "checkbox", tabindex: 0, title: description };
  return h("div", {
    ...attributes, class: isSuspicious && "suspicious", "aria-checked": String(isSelected), "aria-label": description,
  }, thumbnail({ id, photo }, ""), h("span", { class: "mark-text" },
    isSuspicious ? ["→ ", other ? signName(other) : "?"] : split === "test" && "test"));
}

/** Show the drawings; called when the view opens, too. */
export function renderReview() {
  const state = getState();
  if (!state || byId("view-review").hidden) return;
  setOptions(byId("filter-class"), [{ id: "", name: "all" }, ...state.classes]);
  const { byClass, isFiltered } = visibleDrawings();
  const ids = new Set([...byClass.values()].flat().map(({ id }) => id));
  for (const id of selection) if (!ids.has(id)) selection.delete(id);
  const rows = state.classes.filter(({ id }) => byClass.has(id) || !isFiltered).map(({ id, name }) => ({ id, name }));
  renderList(byId("sheet"), rows, renderRow);
  for (const row of byId("sheet").children) {
    const drawings = byClass.get(row.dataset.class) ?? [];
    row.querySelector(".quiet").textContent = drawings.length;
    renderList(row.lastElementChild, drawings.map((one) => ({
      ...one,
      name: classById(one.class)?.name ?? "",
      other: classById(one.prediction)?.name,
      isSelected: selection.has(one.id),
    })), renderDrawing);
  }
  byId("selection").textContent = selection.size ? `${count(selection.size, "drawing")} selected` : "Nothing selected";
  for (const button of byId("move-form").querySelectorAll("button")) setEnabled(button, selection.size > 0);
}

function select(ids, isSelected = true) {
  for (const id of ids) isSelected ? selection.add(id) : selection.delete(id);
  renderReview();
}

const toggle = (id) => select([id], !selection.has(id));

/** Change drawings, all or none. */
async function change(action, body, message) {
  showError("review-error");
  try {
    await mutate(`/api/drawings/${action}`, body);
    selection.clear();
    renderReview();
    toast(message, { undo: true });
  } catch (error) {
    showError("review-error", error);
  }
  byId("sheet").querySelector("[data-drawing]")?.focus({ preventScroll: true });
}

async function move(ids, classId) {
  const drawings = ids.filter((id) => getDrawings().some((one) => one.id === id && one.class !== classId));
  if (!drawings.length) return select(ids, false);
  const message = `Moved ${count(drawings.length, "drawing")} to ${classById(classId)?.name}.`;
  await change("move", { drawings, class: classId }, message);
}

async function submitMove() {
  const name = byId("move-into").value.trim();
  if (!name || !selection.size) return;
  try {
    const [id] = await addSigns([name]);
    byId("move-into").value = "";
    await move([...selection], id);
  } catch (error) {
    showError("review-error", error);
  }
}

function remove() {
  const drawings = [...selection];
  if (drawings.length) change("delete", { drawings }, `Deleted ${count(drawings.length, "drawing")}.`);
}

/** The element that an arrow key leads to: the next drawing, or one of the next sign. */
function neighbour(element, key) {
  const all = [...byId("sheet").querySelectorAll("[data-drawing]")];
  const step = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
  if (key === "ArrowLeft" || key === "ArrowRight") return all[all.indexOf(element) + step];
  const rows = [...new Set(all.map((one) => one.parentElement))];
  const row = rows[rows.indexOf(element.parentElement) + step];
  const index = [...element.parentElement.children].indexOf(element);
  return row?.children[Math.min(index, row.children.length - 1)];
}

function handleKey(event) {
  const element = event.target.closest("[data-drawing]");
  if (!element || event.ctrlKey || event.metaKey || event.altKey) return;
  const id = element.dataset.drawing;
  if (event.key.startsWith("Arrow")) neighbour(element, event.key)?.focus();
  else if (event.key === " ") toggle(id);
  else if (event.key === "Enter" || event.key === "Delete") {
    select([id]);
    if (event.key === "Delete") remove();
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
    move(dragged, rowOf(event).dataset.class);
  });
  sheet.addEventListener("dragend", () => {
    highlight(null);
    dragged = [];
  });
}

export function startReview() {
  const filters = ["filter-class", "filter-split", "filter-suspicious"];
  for (const id of filters) byId(id).addEventListener("change", renderReview);
  onSubmit("move-form", submitMove);
  onClick({ remove, deselect: () => select([...selection], false) });
  byId("sheet").addEventListener("keydown", handleKey);
  byId("sheet").addEventListener("click", (event) => {
    const element = event.target.closest("[data-drawing]");
    if (element) toggle(element.dataset.drawing);
  });
  startDragging(byId("sheet"));
  subscribe(renderReview);
  onDrawings(renderReview);
}
