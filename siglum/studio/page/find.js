// The Find view: draw any character, or open a photo of it, or type a name; then copy it.

import { get, post, upload } from "./api.js";
import { announce, attempt, byId, h, onClick, onSubmit, renderList, setEnabled, showError } from "./dom.js";
import { toast } from "./history.js";
import { createPad } from "./pad.js";
import { mutate } from "./store.js";
import { drawOnTeachPad } from "./teach.js";

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

export const findPad = createPad(byId("find-pad"), { onstart: startAnew, onchange: handleChange, announce });
let matches = [];
let image = null; // a photo instead of the drawing
let groups = [];
let isFinding = false;
let isOutdated = false;
let isCopied = false; // the next stroke begins another drawing
let isLong = false; // all rows are shown
let recent = stored("recent", []); // characters, the last one used first
let pinned = stored("pinned", []); // matches

function startAnew() {
  if (isCopied) findPad.reset();
  isCopied = false;
  image = null;
  byId("find-name").value = "";
}

function handleChange() {
  setEnabled(byId("find-undo"), findPad.canUndo());
  setEnabled(byId("find-clear"), !findPad.isEmpty());
  if (findPad.isEmpty() && !image && !byId("find-name").value) return show([]);
  find();
}

function request() {
  const name = byId("find-name").value.trim();
  const within = groups.join();
  if (name) return get(`/api/find/name?${new URLSearchParams({ name, within })}`);
  if (image) return upload(`/api/find/image?${new URLSearchParams({ within })}`, image);
  return post("/api/find", { drawing: findPad.drawing(), within, recent: [...recent, ...pinned.map((one) => one.text)] });
}

/** Find what is drawn, opened or typed: one request at a time, always for the latest. */
async function find() {
  isOutdated = true;
  if (isFinding) return;
  isFinding = true;
  while (isOutdated) {
    isOutdated = false;
    const newestPoint = findPad.lastPointTime();
    await attempt("find-error", async () => show(await request()));
    performance.clearMeasures("find");
    performance.measure("find", { start: newestPoint, end: performance.now() });
  }
  isFinding = false;
}

function show(next) {
  if (!next.length && (findPad.isEmpty() || isOutdated)) isLong = false;
  matches = next;
  render();
}

function render() {
  const rows = isLong ? matches : matches.slice(0, ORDINARY);
  byId("find-help").hidden = matches.length > 0;
  byId("find-more").hidden = rows.length === matches.length;
  byId("find-teach").hidden = findPad.isEmpty() || !matches.length;
  const items = rows.map((match, index) => ({ ...match, id: index + match.text, index, isPinned: isPinned(match) }));
  renderList(byId("find-rows"), items, renderRow);
  renderStrip("find-recent", recent.map((text) => ({ id: text, text })));
  renderStrip("find-pinned", pinned.map((match) => ({ ...match, id: match.text })));
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

function renderStrip(id, items) {
  byId(id).parentElement.hidden = !items.length;
  renderList(byId(id), items, ({ text, ...match }) => h("li", {},
    h("button", { type: "button", class: "code", title: match.name ?? text, onclick: () => copyCharacter(text, match) },
      h("bdi", { class: "sign" }, text))));
}

/** Copy a match in the format that the user chose. */
const copyMatch = (match) => copy(match[byId("find-format").value] || match.text, match);

async function copyCharacter(text, match) {
  if (match.name) return copyMatch({ ...match, text });
  const [one] = await get(`/api/find/name?${new URLSearchParams({ name: text })}`);
  copyMatch(one);
}

async function copy(text, match) {
  isCopied = true;
  recent = [match.text, ...recent.filter((one) => one !== match.text)].slice(0, MAX_RECENT);
  store("recent", recent);
  try {
    await navigator.clipboard.writeText(text);
    toast(`Copied ${text}`);
  } catch {
    byId("find-copied").textContent = text; // without https, or where the browser blocks it
    getSelection().selectAllChildren(byId("find-copied"));
    toast("The browser blocks copying. The text is selected: press Ctrl-C.");
  }
  render();
}

function togglePin(match) {
  pinned = isPinned(match) ? pinned.filter(({ text }) => text !== match.text) : [...pinned, match];
  store("pinned", pinned);
  render();
}

/** Read a photo of one character. */
export function findInPicture(file) {
  image = file;
  byId("find-name").value = "";
  findPad.reset();
  find();
}

function setGroups(next) {
  groups = next;
  for (const chip of byId("find-chips").children) chip.setAttribute("aria-pressed", chip.dataset.groups === next.join());
  byId("find-group").value = next.length === 1 ? next[0] : "";
  handleChange();
}

/** Handle undo or clear on the pad; false if there is nothing to do. */
export function handleFindKey(action) {
  if (action === "clear" && (image || byId("find-name").value)) {
    image = null;
    byId("find-name").value = "";
    handleChange();
    return true;
  }
  if (!{ undo: findPad.canUndo(), redo: findPad.canRedo(), clear: !findPad.isEmpty() }[action]) return false;
  findPad[action]();
  return true;
}

function handleCopyKey(event) {
  const isTyping = event.target.matches("input, select, textarea");
  if (byId("view-find").hidden || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const onPad = event.target === byId("find-pad") || event.target === document.body || event.target === byId("main");
  const index = event.key === "Enter" && onPad ? 0 : "1234567890".indexOf(event.key);
  if (event.key.length === 1 ? index < 0 : event.key !== "Enter" || !onPad) return;
  if (matches[index]) copyMatch(matches[index]);
}

export function startFind() {
  byId("find-chips").replaceChildren(...CHIPS.map(([name, members]) => h("button", {
    type: "button", "data-groups": members.join(), "aria-pressed": String(!members.length), onclick: () => setGroups(members),
  }, name)));
  byId("find-group").addEventListener("change", ({ target }) => setGroups(target.value ? [target.value] : []));
  byId("find-group").addEventListener("focus", async () => {
    if (byId("find-group").length > 1) return;
    const names = await get("/api/find/groups");
    byId("find-group").append(...names.map((name) => h("option", { value: name }, name)));
  });
  byId("find-format").value = stored("format", "text");
  byId("find-format").addEventListener("change", ({ target }) => store("format", target.value));
  byId("find-name").addEventListener("input", () => {
    image = null;
    handleChange();
  });
  byId("find-photo").addEventListener("change", ({ target }) => {
    if (target.files.length) findInPicture(target.files[0]);
    target.value = "";
  });
  onSubmit("find-form", "find-error", () => matches[0] && copyMatch(matches[0]));
  onClick({
    "find-undo": findPad.undo,
    "find-clear": () => handleFindKey("clear"),
    "find-more": () => {
      isLong = true;
      render();
    },
    "find-teach": () => drawOnTeachPad(findPad.drawing().strokes),
    "find-teach-pinned": () => attempt("find-error", async () => {
      await mutate("/api/classes", { names: pinned.map(({ text }) => text) });
      location.hash = "#teach";
    }),
  });
  addEventListener("keydown", handleCopyKey);
  showError("find-error");
  handleChange();
}
