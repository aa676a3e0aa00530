// The signs: how many drawings each has, what to do with them, and adding one.

import { byId, isolated, keyed, make, said, sign, tell } from "./dom.js";
import { inHand, onHand, pad, takeInHand } from "./draw.js";
import { addSigns, startWith } from "./keeping.js";
import { onSamples, samples, thumb } from "./samples.js";
import { change, classOf, now, onState } from "./state.js";
import { count } from "./words.js";

const SHOWN = 4; // thumbnails of a sign

function complain(error = null) {
  byId("signs-said").replaceChildren(...(error ? [said(error.message)] : []));
}

/** Make a change; says what is wrong with it, or what was done. */
async function attempt(path, body, done) {
  complain();
  try {
    const answer = await change(path, body);
    tell(done);
    return answer;
  } catch (error) {
    complain(error);
    return null;
  }
}

function known({ taught, print }) {
  if (taught) return count(taught, "drawing");
  return print ? "from print" : "to be drawn";
}

function card(one) {
  const toggle = () => {
    if (!pad.empty && inHand() !== one.id) pad.clear(); // what was drawn is of something else; undo brings it back
    takeInHand(inHand() === one.id ? null : one.id);
  };
  const button = make(
    "button",
    { type: "button", onclick: toggle },
    make("span", { class: "name" }),
    make("span", { class: "quiet known" }),
  );
  return make("li", {}, button, make("span", { class: "thumbs" }), make("p", { class: "advice" }));
}

function update(item, one) {
  const [button, thumbs, advice] = item.children;
  const [name, quantity] = button.children;
  if (name.textContent !== one.name) name.replaceChildren(sign(one.name));
  quantity.textContent = known(one);
  button.setAttribute("aria-pressed", inHand() === one.id);
  button.title = "Draw more of it, rename it, merge it or delete it";
  const mine = samples().filter((sample) => sample.class === one.id && sample.part === "taught");
  pictures(thumbs, mine.slice(-SHOWN));
  advice.replaceChildren(...(one.advice && now().ready ? [said(one.advice)] : []));
}

function pictures(parent, list) {
  keyed(parent, list, ({ id }) => id, ({ id }) => thumb(id, ""), () => {});
}

function render() {
  const state = now();
  if (!state) return;
  byId("signs").classList.toggle("stale", !state.analysed);
  keyed(byId("signs"), state.classes, ({ id }) => id, card, update);
  keyed(byId("names"), state.classes, ({ id }) => id, () => make("option"), (option, { name }) => {
    option.value = name;
  });
  byId("new").hidden = state.classes.length < 2;
  renderHand();
}

let opened = null; // the sign whose panel is built

function renderHand() {
  const one = classOf(inHand());
  const panel = byId("hand");
  panel.hidden = !one;
  if (!one) {
    opened = null;
    return;
  }
  if (opened !== one.id) panel.replaceChildren(...build(one));
  opened = one.id;
  byId("hand-title").replaceChildren(sign(one.name));
  byId("hand-right").textContent = one.right
    ? `${one.right.hits} of ${one.right.total} are read right, each left out of what is learnt.`
    : known(one);
  const mine = samples().filter((sample) => sample.class === one.id && sample.part === "taught");
  pictures(byId("hand-all"), mine);
  const others = now().classes.filter(({ id }) => id !== one.id);
  keyed(byId("hand-into"), others, ({ id }) => id, ({ id }) => make("option", { value: id }), (option, { name }) => {
    option.textContent = isolated(name);
  });
}

function build({ id, name }) {
  const renamed = make("input", { id: "hand-name", maxlength: 100, autocomplete: "off", value: name });
  const into = make("select", { id: "hand-into" });
  const rename = async (event) => {
    event.preventDefault();
    const answer = await attempt(`/api/classes/${id}/rename`, { name: renamed.value }, "Renamed.");
    if (answer) takeInHand(answer.id);
  };
  const merge = async (event) => {
    event.preventDefault();
    if (!into.value) return;
    await attempt(`/api/classes/${id}/merge`, { into: into.value }, "Merged.");
    if (!classOf(id)) byId("signs-title").focus();
  };
  const remove = async () => {
    await attempt(`/api/classes/${id}/delete`, {}, "Deleted. Undo brings it back.");
    if (!classOf(id)) byId("signs-title").focus();
  };
  return [
    make("h3", { id: "hand-title" }),
    make("p", { class: "quiet", id: "hand-right" }),
    make("div", { class: "thumbs", id: "hand-all" }),
    make(
      "div",
      { class: "changes" },
      make("form", { onsubmit: rename }, make("label", { for: "hand-name" }, "Name"),
        make("div", { class: "field" }, renamed, make("button", {}, "Rename"))),
      make("form", { onsubmit: merge }, make("label", { for: "hand-into" }, "The same as"),
        make("div", { class: "field" }, into, make("button", {}, "Merge"))),
      make("button", { type: "button", onclick: remove }, "Delete"),
    ),
  ];
}

async function add(event) {
  event.preventDefault();
  complain();
  const text = byId("new-name").value.trim();
  const names = text.length > 1 ? text.split(",").map((name) => name.trim()) : [text];
  try {
    const ids = await addSigns(names.filter(Boolean));
    byId("new-name").value = "";
    if (ids.length) startWith(ids);
  } catch (error) {
    complain(error);
  }
}

export function startSigns() {
  byId("new").addEventListener("submit", add);
  onState(render);
  onHand(render);
  onSamples(render);
}
