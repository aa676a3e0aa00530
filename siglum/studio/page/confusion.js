// A confusion matrix whose cells open the drawings.

import { thumbnail } from "./drawings.js";
import { h, isolate, signName } from "./dom.js";
import { classById } from "./store.js";

const MAX_SIGNS = 24; // of more, those with the most confusions
const REJECTED = "none of your signs";

const openCells = new Map(); // by the matrix's name: the cell whose drawings are shown

const cellKey = ({ label, prediction }) => `${label} ${prediction}`;
const nameOf = (id) => (id === null ? REJECTED : signName(classById(id).name));
const plainName = (id) => (id === null ? REJECTED : isolate(classById(id).name));

/** The signs with the most confusions, in the order of `ids`. */
function chooseSigns(ids, cells) {
  const involves = (id) => (cell) => cell.label === id || cell.prediction === id;
  const confusions = (id) => cells.filter(involves(id)).reduce((sum, cell) => sum + cell.count, 0);
  const worst = new Set(ids.toSorted((a, b) => confusions(b) - confusions(a)).slice(0, MAX_SIGNS));
  return ids.filter((id) => worst.has(id));
}

/**
 * Create a matrix of {label, prediction, count, drawings}; `prediction` is null for rejected drawings.
 *
 * `totals` maps a class to the number of its drawings. A matrix that is created again under its name
 * keeps the cell that was open.
 */
export function confusionMatrix(name, confusions, totals) {
  const exists = (id) => id === null || classById(id);
  const cells = confusions.filter(
    ({ label, prediction }) => label !== prediction && exists(label) && exists(prediction));
  const predictions = cells.map(({ prediction }) => prediction);
  const allIds = [...new Set([...totals.keys(), ...predictions])].filter((id) => id !== null);
  const ids = chooseSigns(allIds, cells);
  const columns = predictions.includes(null) ? [...ids, null] : ids;
  const selection = ids.length < allIds.length ? `The ${MAX_SIGNS} of ${allIds.length} signs with the most mix-ups. ` : "";
  const caption = selection + (cells.length ? "Click a number to see the drawings." : "No mix-ups.");
  const panel = h("div", { class: "drawings", "aria-live": "polite" });

  function open(cell) {
    openCells.set(name, cellKey(cell));
    const images = cell.drawings.map((id) => thumbnail({ id }, `a drawing of ${plainName(cell.label)}`));
    panel.replaceChildren(
      h("p", {}, nameOf(cell.label), " recognised as ", nameOf(cell.prediction), ":"),
      h("div", { class: "thumbnails" }, images));
  }

  function createCell(label, prediction) {
    const inRow = cells.filter((one) => one.label === label);
    if (prediction === label) {
      const hits = (totals.get(label) ?? 0) - inRow.reduce((sum, one) => sum + one.count, 0);
      return h("td", { class: "hit" }, hits ? String(hits) : "");
    }
    const cell = inRow.find((one) => one.prediction === prediction);
    if (!cell) return h("td");
    if (openCells.get(name) === cellKey(cell)) open(cell);
    const description = `${plainName(label)} recognised as ${plainName(prediction)}: ${cell.count}`;
    return h("td", { class: "miss" },
      h("button", { type: "button", "data-keep": `${name} ${cellKey(cell)}`, "aria-label": description,
        onclick: () => open(cell) }, String(cell.count)));
  }

  return h("div", {},
    h("div", { class: "scrollable", tabindex: "0", role: "group", "aria-label": caption, "data-keep": name },
      h("table", { class: "matrix" },
        h("caption", {}, caption),
        h("thead", {}, h("tr", {},
          h("th", { class: "corner" }, "drawn ↓ recognised →"),
          columns.map((id) => h("th", { scope: "col" }, id === null ? "none" : nameOf(id))))),
        h("tbody", {}, ids.map((label) => h("tr", {},
          h("th", { scope: "row" }, nameOf(label)),
          columns.map((prediction) => createCell(label, prediction))))))),
    panel);
}
