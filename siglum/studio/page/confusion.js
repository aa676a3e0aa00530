// A confusion matrix whose cells open the drawings.

import { h, isolate, signName, thumbnail } from "./dom.js";
import { classById, getState } from "./store.js";

const REJECTED = "none of your signs";

const nameOf = (id) => (id === null ? REJECTED : signName(classById(id).name));
const plainName = (id) => (id === null ? REJECTED : isolate(classById(id).name));

/**
 * Create a matrix of the signs that are mixed up, from {label, prediction, count, drawings};
 * `prediction` is null for rejected drawings, `totals` maps a class to the number of its drawings.
 */
export function confusionMatrix(confusions, totals) {
  const exists = (id) => id === null || classById(id);
  const cells = confusions.filter((one) => one.label !== one.prediction && exists(one.label) && exists(one.prediction));
  if (!cells.length) return h("p", { class: "quiet" }, "No mix-ups.");
  const involved = new Set(cells.flatMap(({ label, prediction }) => [label, prediction]));
  const ids = getState().classes.map(({ id }) => id).filter((id) => involved.has(id));
  const columns = involved.has(null) ? [...ids, null] : ids;
  const caption = "Signs that are mixed up. Click a number to see the drawings.";
  const panel = h("div", { class: "drawings", "aria-live": "polite" });

  function open({ label, prediction, drawings }) {
    const images = drawings.map((id) => thumbnail({ id }, `a drawing of ${plainName(label)}`));
    panel.replaceChildren(
      h("p", {}, nameOf(label), " recognised as ", nameOf(prediction), ":"),
      h("div", { class: "thumbnails" }, images));
  }

  function createCell(label, prediction) {
    const row = cells.filter((one) => one.label === label);
    if (prediction === label) {
      const hits = (totals.get(label) ?? 0) - row.reduce((sum, one) => sum + one.count, 0);
      return h("td", { class: "hit" }, hits > 0 && String(hits));
    }
    const cell = row.find((one) => one.prediction === prediction);
    if (!cell) return h("td");
    const description = `${plainName(label)} recognised as ${plainName(prediction)}: ${cell.count}`;
    return h("td", { class: "miss" },
      h("button", { type: "button", "aria-label": description, onclick: () => open(cell) }, String(cell.count)));
  }

  const header = columns.map((id) => h("th", { scope: "col" }, id === null ? "none" : nameOf(id)));
  const rows = ids.map((label) => h("tr", {},
    h("th", { scope: "row" }, nameOf(label)),
    columns.map((prediction) => createCell(label, prediction))));
  return h("div", {},
    h("div", { class: "scrollable", tabindex: "0", role: "group", "aria-label": caption },
      h("table", { class: "matrix" },
        h("caption", {}, caption),
        h("thead", {}, h("tr", {}, h("th", { class: "corner" }, "drawn ↓ recognised →"), header)),
        h("tbody", {}, rows))),
    panel);
}
