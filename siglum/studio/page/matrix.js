// A confusion matrix whose cells show the drawings.

import { make, sign } from "./dom.js";
import { thumb } from "./samples.js";
import { classOf } from "./state.js";

const MOST = 24; // signs in a matrix; of more, those that are confused

const opened = new Map(); // by the matrix's name: the cell whose drawings are shown, "meant read"

/**
 * Make a matrix of {meant, read, times, of, samples} and of how often each sign was right.
 *
 * `counts` is a map from a class to how many of its drawings were read. A matrix made again under
 * its name shows the same drawings as before.
 */
export function matrix(name, confusions, counts, caption) {
  const wrong = confusions.filter((cell) => cell.meant !== cell.read);
  let ids = [...counts.keys()].filter((id) => classOf(id));
  for (const { read } of wrong) if (classOf(read) && !ids.includes(read)) ids.push(read);
  if (ids.length > MOST) {
    ids = ids.filter((id) => wrong.some(({ meant, read }) => meant === id || read === id)).slice(0, MOST);
  }
  const panel = make("div", { class: "drawings", "aria-live": "polite" });
  const key = (cell) => `${cell.meant} ${cell.read}`;
  const show = (cell) => () => {
    opened.set(name, key(cell));
    panel.replaceChildren(
      make("p", {}, sign(classOf(cell.meant).name), " read as ", sign(classOf(cell.read).name), ":"),
      make("div", { class: "thumbs" }, cell.samples.map((id) => thumb(id))),
    );
  };
  const row = (meant) => {
    const mine = wrong.filter((cell) => cell.meant === meant);
    const missed = mine.reduce((sum, cell) => sum + cell.times, 0);
    return make("tr", {},
      make("th", { scope: "row" }, sign(classOf(meant).name)),
      ids.map((read) => {
        if (read === meant) {
          const hits = (counts.get(meant) ?? 0) - missed;
          return make("td", { class: "right" }, hits ? String(hits) : "");
        }
        const cell = mine.find((one) => one.read === read);
        if (!cell) return make("td");
        if (opened.get(name) === key(cell)) show(cell)();
        const button = make("button", { type: "button", onclick: show(cell) }, String(cell.times));
        button.dataset.cell = `${name} ${key(cell)}`;
        return make("td", { class: "wrong" }, button);
      }));
  };
  return make("div", { class: "matrix-and-drawings" },
    make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": caption },
      make("table", { class: "matrix" },
        make("caption", {}, caption),
        make("thead", {}, make("tr", {},
          make("th", { class: "corner" }, "meant ↓ read →"),
          ids.map((id) => make("th", { scope: "col" }, sign(classOf(id).name))))),
        make("tbody", {}, ids.map(row)))),
    panel);
}
