// The Find tab: draw any character, or open a photo of it, or type a name; then copy it.

import { get, post, upload } from "./api.js";
import { addTab, isTabOpen, latest, pad, setTask } from "./bench.js";
import { attempt, byId, h, onClick, onSubmit, renderList } from "./dom.js";
import { copyText } from "./history.js";
import { cutOut, getSign, isPhotoOpen } from "./photo.js";
import { mutate } from "./store.js";

const MAX_RECENT = 24;
const ORDINARY = 5; // rows shown before "Show more"
const CHIPS = [
  ["All", []], ["Maths", ["mathematics", "letterlike", "greek"]], ["Greek", ["greek"]], ["Latin", ["latin", "latin-accents"]],
  ["Arrows", ["arrows"]], ["Symbols", ["shapes", "boxes", "signs", "currency", "music", "cards", "chess", "planets"]],
  ["Cyrillic", ["cyrillic"]], ["日本語", ["kana", "kanji"]],
];
const CODES = ["code_point", "latex", "typst", "html"]; // shown in a row
const stored = (key, initial) => JSON.parse(localStorage.getItem(`siglum.find.${key}`) ?? "null") ?? initial;
const store = (key, value) => localStorage.setItem(`siglum.find.${key}`, JSON.stringify(value));

let matches = [];
let groups = [];
let isCopied = false; // the next stroke begins another drawing
let isLong = false; // all rows are shown
let recent = stored("recent", []); // matches, the last one copied first
let pinned = stored("pinned", []);

const hasInk = () => (isPhotoOpen() ? Boolean(getSign()) : !pad.isEmpty());

/** Find what is typed, opened or drawn. */
const find = latest(async () => {
  const [name, within] = [byId("find-name").value.trim(), groups.join()];
  if (name) show(await get(`/api/find/name?${new URLSearchParams({ name, within })}`));
  else if (!hasInk()) show([]);
  else if (isPhotoOpen()) show(await upload(`/api/find/image?${new URLSearchParams({ within })}`, await cutOut()));
  else show(await post("/api/find", { drawing: pad.drawing(), within, recent: [...recent, ...pinned].map(({ text }) => text) }));
});

function startAnew() {
  if (isCopied) pad.reset();
  isCopied = false;
  byId("find-name").value = "";
}

function clearName() {
  if (!byId("find-name").value) return false;
  byId("find-name").value = "";
  find();
  return true;
}

function show(next) {
  if (!next.length) isLong = false;
  matches = next;
  render();
}

function render() {
  const rows = isLong ? matches : matches.slice(0, ORDINARY);
  byId("find-help").hidden = matches.length > 0;
  byId("find-more").hidden = rows.length === matches.length;
  byId("find-teach").hidden = !hasInk() || !matches.length;
  const items = rows.map((match, index) => ({ ...match, id: index + match.text, index, isPinned: isPinned(match) }));
  renderList(byId("find-rows"), items, renderRow);
  renderStrip("find-recent", recent);
  renderStrip("find-pinned", pinned);
}

const isPinned = ({ text }) => pinned.some((one) => one.text === text);
const copyButton = (text, title, match, content = text) =>
  h("button", { type: "button", class: "code", title, onclick: () => copy(text, match) }, content);

function renderRow({ id, index, isPinned: isPressed, ...match }) {
  const { lookalikes, name, text } = match;
  const others = lookalikes.map((other) => copyButton(other.text, `Copy ${other.name}`, other, h("bdi", { class: "sign" }, other.text)));
  return h("li", {},
    h("button", { type: "button", class: "glyph", "aria-label": `Copy ${name}`, title: `Copy (${(index + 1) % 10})`,
      onclick: () => copyMatch(match) }, h("bdi", { class: "sign" }, text)),
    h("div", {},
      h("p", { class: "name" }, name),
      h("p", { class: "codes" }, CODES.filter((kind) => match[kind]).map((kind) => copyButton(match[kind], `Copy ${match[kind]}`, match))),
      others.length > 0 && h("p", { class: "codes quiet" }, "Same shape: ", others)),
    h("button", { type: "button", class: "pin", "aria-pressed": String(isPressed), title: "Pin, to find it again or teach it",
      "aria-label": `Pin ${name}`, onclick: () => togglePin(match) }, "☆"));
}

function renderStrip(id, list) {
  byId(id).parentElement.hidden = !list.length;
  renderList(byId(id), list.map((match) => ({ ...match, id: match.text })), (match) => h("li", {},
    h("button", { type: "button", class: "code", title: match.name, onclick: () => copyMatch(match) }, h("bdi", { class: "sign" }, match.text))));
}

/** Copy a match in the format that the user chose. */
const copyMatch = (match) => copy(match[byId("find-format").value] || match.text, match);

async function copy(text, match) {
  isCopied = true;
  recent = [match, ...recent.filter(({ text: other }) => other !== match.text)].slice(0, MAX_RECENT);
  store("recent", recent);
  await copyText(text);
  render();
}

function togglePin(match) {
  pinned = isPinned(match) ? pinned.filter(({ text }) => text !== match.text) : [...pinned, match];
  store("pinned", pinned);
  render();
}

function setGroups(next) {
  groups = next;
  for (const chip of byId("find-chips").children) chip.setAttribute("aria-pressed", chip.dataset.groups === next.join());
  byId("find-group").value = next.length === 1 ? next[0] : "";
  find();
}

const copyFirst = () => matches[0] && copyMatch(matches[0]);

/** A number copies the answer of that row. */
function handleNumber({ altKey, ctrlKey, key, metaKey, target }) {
  const index = "1234567890".indexOf(key);
  if (!isTabOpen("find") || target.matches("input, select, textarea") || ctrlKey || metaKey || altKey) return;
  if (key.length === 1 && matches[index]) copyMatch(matches[index]);
}

async function fillGroups() {
  if (byId("find-group").length > 1) return;
  const names = Object.keys(await get("/api/find/groups"));
  byId("find-group").append(...names.map((name) => h("option", { value: name }, name)));
}

export function startFind() {
  byId("find-chips").replaceChildren(...CHIPS.map(([name, members]) => h("button", {
    type: "button", "data-groups": members.join(), "aria-pressed": String(!members.length), onclick: () => setGroups(members),
  }, name)));
  byId("find-group").addEventListener("change", ({ target }) => setGroups(target.value ? [target.value] : []));
  byId("find-group").addEventListener("focus", fillGroups);
  byId("find-format").value = stored("format", "text");
  byId("find-format").addEventListener("change", ({ target }) => store("format", target.value));
  byId("find-name").addEventListener("input", find);
  onSubmit("find-form", "bench-error", copyFirst);
  onClick({
    "find-more": () => {
      isLong = true;
      render();
    },
    "find-teach": () => (location.hash = "#teach"),
    "find-teach-pinned": () => attempt("bench-error", async () => {
      await mutate("/api/classes", { names: pinned.map(({ text }) => text) });
      location.hash = "#teach";
    }),
  });
  addEventListener("keydown", handleNumber);
  const change = () => {
    setTask("Draw any character");
    find();
  };
  addTab("find", { start: startAnew, change, submit: copyFirst, clear: clearName });
}
