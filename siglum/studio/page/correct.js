// Correct: every sample on a sheet, a row a sign; relabelled by dragging, by touch or by keys.

import { able, byId, isolated, keyed, make, said, sign, tell } from "./dom.js";
import { dragging } from "./drag.js";
import { addSigns } from "./keeping.js";
import { onSamples, samples, thumb } from "./samples.js";
import { change, classOf, now, onState } from "./state.js";
import { count, percent } from "./words.js";

const chosen = new Set(); // ids of samples
let current = null; // id of the sample that the keys are at

const view = () => byId("view-correct");

function build() {
  const only = make("select", { id: "only" });
  const part = make("select", { id: "part" },
    make("option", { value: "" }, "taught and quiz"),
    make("option", { value: "taught" }, "taught"),
    make("option", { value: "quiz" }, "quiz"));
  const wrong = make("input", { id: "wrong", type: "checkbox" });
  for (const filter of [only, part, wrong]) filter.addEventListener("change", render);
  const target = make("input", { id: "target", maxlength: "100", autocomplete: "off", list: "names",
    placeholder: "a sign" });
  view().replaceChildren(
    make("h1", { id: "correct-title" }, "Correct"),
    make("p", { id: "sheet-keys" }, "Drag a drawing to the row where it belongs. Or choose some, by click, or by arrow keys and Space; then say what they are. Delete removes them; undo brings them back."),
    make("div", { class: "filters" },
      make("label", {}, "Show ", only),
      make("label", {}, "drawn as ", part),
      make("label", {}, wrong, " only what looks wrong")),
    make("form", { id: "move", class: "field", onsubmit: moveNamed },
      make("span", { id: "chosen", role: "status" }),
      make("label", { id: "belong", for: "target" }), target,
      make("button", { class: "main" }, "Move"),
      make("button", { type: "button", id: "remove", onclick: remove }, "Remove"),
      make("button", { type: "button", onclick: () => choose() }, "Choose none")),
    make("div", { id: "correct-said", class: "said", role: "alert" }),
    make("ul", { id: "sheet", class: "sheet" }));
  byId("sheet").addEventListener("keydown", keys);
  dragging(byId("sheet"), { picked, dropped: (id, group) => move(chosen.has(id) ? [...chosen] : [id], group), press });
}

/** What is dragged, for the ghost under the pointer. */
function picked(id) {
  return chosen.has(id) ? chosen.size : 1;
}

function press(id) {
  current = id;
  if (!chosen.delete(id)) chosen.add(id);
  render();
}

/** Move or delete samples, all or none; says what is wrong with it. */
async function attempt(what, body) {
  byId("correct-said").replaceChildren();
  try {
    await change(`/api/samples/${what}`, body);
    return true;
  } catch (error) {
    byId("correct-said").replaceChildren(said(error.message));
    return false;
  }
}

function choose(...ids) {
  chosen.clear();
  for (const id of ids) chosen.add(id);
  render();
}

function shown() {
  const [only, part, wrong] = [byId("only").value, byId("part").value, byId("wrong").checked];
  return samples().filter((one) =>
    (!only || one.class === only) && (!part || one.part === part) && (!wrong || one.wrong));
}

function row({ id }) {
  const head = make("div", { class: "row-head" }, make("span", { class: "name" }), make("span", { class: "quiet" }));
  const list = make("div", { class: "row", role: "listbox", "aria-multiselectable": "true" });
  const item = make("li", {}, head, list);
  item.dataset.group = id;
  return item;
}

function updateRow(item, { id, name, mine }) {
  const [head, list] = item.children;
  if (head.firstElementChild.textContent !== name) head.firstElementChild.replaceChildren(sign(name));
  head.lastElementChild.textContent = mine.length ? String(mine.length) : "none here";
  list.setAttribute("aria-label", `Drawings of ${isolated(name)}`);
  list.hidden = !mine.length;
  keyed(list, mine, (one) => one.id, cell, updateCell);
}

function cell({ id }) {
  const item = make("div", { role: "option", tabindex: "-1" }, thumb(id, ""), make("span", { class: "read" }));
  item.dataset.sample = id;
  return item;
}

function updateCell(item, one) {
  const read = classOf(one.read);
  item.setAttribute("aria-selected", chosen.has(one.id));
  item.tabIndex = one.id === current ? 0 : -1;
  item.classList.toggle("looks-wrong", Boolean(one.wrong));
  const what = one.wrong && read ? `, looks like ${isolated(read.name)}, ${percent(one.probability)}` : "";
  const who = one.writer ? `, by ${isolated(one.writer)}` : "";
  const words = `${isolated(classOf(one.class)?.name ?? "")}${what}${one.part === "quiz" ? ", quiz" : ""}${who}`;
  item.setAttribute("aria-label", words);
  item.title = words;
  const mark = item.lastElementChild;
  if (one.wrong) mark.replaceChildren("→ ", read ? sign(read.name) : "?");
  else mark.replaceChildren(one.part === "quiz" ? "quiz" : "");
}

function render() {
  const state = now();
  if (!state || view().hidden) return;
  const every = [{ id: "", name: "all signs" }, ...state.classes];
  keyed(byId("only"), every, ({ id }) => id || "all", ({ id }) => make("option", { value: id }), (option, { name, id }) => {
    option.textContent = id ? isolated(name) : name;
  });
  const list = shown();
  const there = new Set(list.map(({ id }) => id)); // what is not on the sheet is not chosen
  for (const id of chosen) if (!there.has(id)) chosen.delete(id);
  if (!list.some(({ id }) => id === current)) current = list[0]?.id ?? null;
  const rows = state.classes.map((one) => ({ ...one, mine: list.filter((each) => each.class === one.id) }));
  keyed(byId("sheet"), rows, ({ id }) => id, row, updateRow);
  byId("chosen").textContent = chosen.size ? `${count(chosen.size, "drawing")} chosen` : "None chosen";
  byId("belong").textContent = chosen.size === 1 ? "belongs to" : "belong to";
  for (const button of byId("move").querySelectorAll("button")) able(button, chosen.size > 0);
}

function focusOn(id) {
  current = id;
  render();
  view().querySelector(`[data-sample="${id}"]`)?.focus();
}

/** The sample above or below, by where they are on the screen. */
function neighbour(element, down) {
  const from = element.getBoundingClientRect();
  const cells = [...view().querySelectorAll("[role=option]")].map((cell) => [cell, cell.getBoundingClientRect()]);
  const beyond = cells.filter(([, box]) => (down ? box.top >= from.bottom - 1 : box.bottom <= from.top + 1));
  const far = ([, box]) => 10 * Math.abs(box.top - from.top) + Math.abs(box.left - from.left);
  return beyond.sort((a, b) => far(a) - far(b))[0]?.[0];
}

function keys(event) {
  const element = event.target.closest("[data-sample]");
  if (!element || event.ctrlKey || event.metaKey || event.altKey) return;
  const order = shown().sort((a, b) => place(a) - place(b)).map(({ id }) => id);
  const at = order.indexOf(element.dataset.sample);
  const go = {
    ArrowLeft: order[at - 1],
    ArrowRight: order[at + 1],
    ArrowUp: neighbour(element, false)?.dataset.sample,
    ArrowDown: neighbour(element, true)?.dataset.sample,
    Home: order[0],
    End: order.at(-1),
  };
  if (event.key in go) {
    if (go[event.key]) focusOn(go[event.key]);
  } else if (event.key === " ") press(element.dataset.sample);
  else if (event.key === "Enter") {
    chosen.add(element.dataset.sample);
    render();
    byId("target").focus();
  } else if (event.key === "Delete") {
    chosen.add(element.dataset.sample);
    remove();
  } else return;
  event.preventDefault();
}

const place = (sample) => now().classes.findIndex(({ id }) => id === sample.class);

async function move(ids, group) {
  const moved = ids.filter((id) => samples().find((one) => one.id === id)?.class !== group);
  if (moved.length && !(await attempt("move", { samples: moved, class: group }))) return;
  choose();
  if (moved.length) tell(`${count(moved.length, "drawing")} moved to ${classOf(group)?.name}.`);
}

async function moveNamed(event) {
  event.preventDefault();
  const name = byId("target").value.trim();
  if (!name || !chosen.size) return;
  try {
    const [id] = await addSigns([name]);
    byId("target").value = "";
    await move([...chosen], id);
  } catch (error) {
    byId("correct-said").replaceChildren(said(error.message));
  }
  if (current) focusOn(current);
}

async function remove() {
  const ids = [...chosen];
  if (!ids.length || !(await attempt("delete", { samples: ids }))) return;
  choose();
  tell(`${count(ids.length, "drawing")} removed. Undo brings them back.`);
  if (current) focusOn(current);
}

/** The view is opened. */
export const openCorrect = render;

export function startCorrect() {
  build();
  onState(render);
  onSamples(render);
}
