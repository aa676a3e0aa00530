// Signs that are mixed up: a list with their drawings, the worst first, and a table on demand.

import { h, signName, thumbnail } from "./dom.js";
import { classById, getDrawings, getState } from "./store.js";

const MAX_DRAWINGS = 3; // of each sign in the list

const nameOf = (id) => (id === null ? "none of your signs" : signName(classById(id).name));

function renderMixup({ label, prediction, count, total, drawings }) {
  const examples = getDrawings().filter((one) => one.class === prediction && one.split === "train");
  const images = (list) => h("span", { class: "thumbnails" }, list.slice(-MAX_DRAWINGS).map((one) => thumbnail(one, "")));
  return h("li", {},
    images(getDrawings().filter(({ id }) => drawings.includes(id))),
    h("span", {}, nameOf(label), " recognised as ", nameOf(prediction), h("span", { class: "quiet" }, `${count} of ${total}`)),
    images(examples));
}

function renderTable(mixups, totals) {
  const involved = new Set(mixups.flatMap(({ label, prediction }) => [label, prediction]));
  const ids = getState().classes.map(({ id }) => id).filter((id) => involved.has(id));
  const columns = involved.has(null) ? [...ids, null] : ids;
  const counts = new Map(mixups.map(({ label, prediction, count }) => [`${label} ${prediction}`, count]));
  const missed = (label) => columns.reduce((sum, id) => sum + (counts.get(`${label} ${id}`) ?? 0), 0);
  const cell = (label, id) => {
    const number = label === id ? (totals.get(id) ?? 0) - missed(id) : counts.get(`${label} ${id}`);
    return h("td", { class: label === id ? "hit" : number && "miss" }, number ? String(number) : "");
  };
  const header = columns.map((id) => h("th", { scope: "col" }, id === null ? "none" : nameOf(id)));
  const rows = ids.map((label) => h("tr", {}, h("th", { scope: "row" }, nameOf(label)), columns.map((id) => cell(label, id))));
  return h("div", { class: "scrollable", tabindex: "0", role: "group", "aria-label": "Table of mix-ups" },
    h("table", { class: "matrix" },
      h("thead", {}, h("tr", {}, h("th", { class: "corner" }, "drawn ↓ recognised →"), header)),
      h("tbody", {}, rows)));
}

/**
 * Show signs that are mixed up, from {label, prediction, count, total, drawings}; `prediction` is null
 * for rejected drawings, `totals` maps a class to the number of its drawings.
 */
export function renderMixups(confusions, totals) {
  const exists = (id) => id === null || classById(id);
  const mixups = confusions.filter(({ label, prediction }) => exists(label) && exists(prediction));
  if (!mixups.length) return h("p", { class: "quiet" }, "No mix-ups.");
  return h("div", {},
    h("ol", { class: "mixups" }, mixups.map(renderMixup)),
    h("details", {}, h("summary", {}, "As a table"), renderTable(mixups, totals)));
}
