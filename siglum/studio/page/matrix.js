// A confusion matrix whose cells show the drawings.

import { isolated, make, sign } from "./dom.js";
import { thumb } from "./samples.js";
import { classOf } from "./state.js";

const MOST = 24; // signs in a matrix; of more, those that are confused most
const NONE = "none of these";

const opened = new Map(); // by the matrix's name: the cell whose drawings are shown, "meant read"

/**
 * Make a matrix of {meant, read, times, of, samples} and of how often each sign was right; `read` is
 * null for what was taken for none of them.
 *
 * `judged` is a map from a class to how many of its drawings were judged. A matrix made again under
 * its name shows the same drawings as before.
 */
export function matrix(name, confusions, judged) {
  const wrong = confusions.filter(({ meant, read }) => meant !== read && classOf(meant) && (read === null || classOf(read)));
  const every = new Set([...judged.keys(), ...wrong.map(({ read }) => read).filter((id) => id !== null)]);
  const times = (id) => wrong.reduce((sum, one) => sum + (one.meant === id || one.read === id ? one.times : 0), 0);
  const most = [...every].sort((a, b) => times(b) - times(a)).slice(0, MOST);
  const ids = [...every].filter((id) => most.includes(id));
  const those = ids.length < every.size ? `The ${MOST} of ${every.size} signs that are confused most. ` : "";
  const caption = `${those}${wrong.length ? "Choose a number to see the drawings." : "None is read as another."}`;
  const panel = make("div", { class: "drawings", "aria-live": "polite" });
  const columns = wrong.some(({ read }) => read === null) ? [...ids, null] : ids;
  const called = (id) => (id === null ? NONE : sign(classOf(id).name));
  const told = (id) => (id === null ? NONE : isolated(classOf(id).name));
  const key = (cell) => `${cell.meant} ${cell.read}`;
  const show = (cell) => () => {
    opened.set(name, key(cell));
    panel.replaceChildren(
      make("p", {}, called(cell.meant), " read as ", called(cell.read), ":"),
      make("div", { class: "thumbs" }, cell.samples.map((id) => thumb(id, `a drawing of ${told(cell.meant)}`))),
    );
  };
  const row = (meant) => {
    const mine = wrong.filter((cell) => cell.meant === meant);
    const missed = mine.reduce((sum, cell) => sum + cell.times, 0);
    return make("tr", {},
      make("th", { scope: "row" }, sign(classOf(meant).name)),
      columns.map((read) => {
        if (read === meant) {
          const hits = (judged.get(meant) ?? 0) - missed;
          return make("td", { class: "right" }, hits ? String(hits) : "");
        }
        const cell = mine.find((one) => one.read === read);
        if (!cell) return make("td");
        if (opened.get(name) === key(cell)) show(cell)();
        const stay = `${name} ${key(cell)}`;
        return make("td", { class: "wrong" },
          make("button", { type: "button", "data-stay": stay, onclick: show(cell),
            "aria-label": `${told(meant)} read as ${told(read)}: ${cell.times}` }, String(cell.times)));
      }));
  };
  return make("div", { class: "matrix-and-drawings" },
    make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": caption, "data-stay": name },
      make("table", { class: "matrix" },
        make("caption", {}, caption),
        make("thead", {}, make("tr", {},
          make("th", { class: "corner" }, "meant ↓ read →"),
          columns.map((id) => make("th", { scope: "col", class: id === null ? "quiet" : "" },
            id === null ? "none" : called(id))))),
        make("tbody", {}, ids.map(row)))),
    panel);
}
