// The Find tab: draw any character, or open a photo of it, or type a name; then copy it.

import { get, post, upload } from "./api.js";
import { addTab, isTabOpen, latest, pad, setTask } from "./bench.js";
import { announceSteady, attempt, byId, h, onClick, onSubmit, renderList } from "./dom.js";
import { copyText } from "./message.js";
import { cutOut, describePhoto, getSign, isPhotoOpen } from "./photo.js";
import { mutate } from "./store.js";

const MAX_RECENT = 24;
const ORDINARY = 5; // rows shown before "Show more"
const CHIPS = [
  ["All", []], ["Maths", ["mathematics", "letterlike", "greek"]], ["Greek", ["greek"]], ["Latin", ["latin", "latin-accents"]],
  ["Arrows", ["arrows"]], ["Symbols", ["shapes", "boxes", "signs", "currency", "music", "cards", "chess", "planets"]],
  ["Cyrillic", ["cyrillic"]], ["Japanese", ["kana", "kanji"]],
];
const CODES = { u: "code_point", l: "latex", t: "typst", h: "html" }; // shown in a row; c and the key copy the first row's
const UNSURE = 0.5; // similarity of the first row below which teaching is offered first
const stored = (key, initial) => JSON.parse(localStorage.getItem(`siglum.find.${key}`) ?? "null") ?? initial;
const store = (key, value) => localStorage.setItem(`siglum.find.${key}`, JSON.stringify(value));

let matches = [];
let groups = [];
let isCopied = false; // the next stroke begins another drawing
let isLong = false; // all rows are shown
let isCodeNext = false; // after c
let chosen = 0; // the row that a phone shows
let recent = stored("recent", []); // matches, the last one copied first
let pinned = stored("pinned", []);

const hasInk = () => (isPhotoOpen() ? Boolean(getSign()) : !pad.isEmpty());

async function ask() {
  const [name, within] = [byId("find-name").value.trim(), groups.join()];
  const used = [...recent, ...pinned].map(({ text }) => text);
  if (name) return get(`/api/find/name?${new URLSearchParams({ name, within })}`);
  if (!hasInk()) return [];
  if (!isPhotoOpen()) return post("/api/find", { drawing: pad.drawing(), within, recent: used });
  return upload(`/api/find/image?${new URLSearchParams({ within, recent: used.join("") })}`, await cutOut());
}

/** Find what is typed, opened or drawn. */
const find = latest(async () => {
  const start = performance.now();
  const next = await ask();
  if (next[0]?.text !== matches[0]?.text) chosen = 0; // the camera asks again and again
  matches = next;
  byId("find-time").textContent = `${Math.ceil(performance.now() - start)} ms · offline`;
  isLong &&= matches.length > 0;
  render();
  announceSteady(matches[0]?.name);
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

const visibleRows = () => (isLong || chosen >= ORDINARY ? matches : matches.slice(0, ORDINARY));

function render() {
  const more = matches.length - visibleRows().length;
  const isNamed = byId("find-name").value.trim() !== "";
  const isUnsure = !isNamed && matches[0]?.similarity < UNSURE;
  byId("find-help").hidden = isNamed || matches.length > 0;
  byId("find-none").hidden = !isNamed || matches.length > 0;
  byId("find-actions").hidden = !matches.length;
  Object.assign(byId("find-more"), { hidden: !more, textContent: `Show ${more} more` });
  byId("find-teach").hidden = isNamed || isUnsure;
  byId("find-unsure").hidden = !isUnsure;
  const items = matches.map(({ similarity, ...match }, index) => ({
    ...match, id: index + match.text, index, isPinned: isPinned(match), isChosen: index === chosen,
  }));
  renderList(byId("find-choices"), items, renderChoice);
  renderList(byId("find-rows"), items.slice(0, items.length - more), renderRow);
  byId("photo-boxes").style.setProperty("--answer", JSON.stringify(matches[0]?.text ?? "?")); // beside the sign
  renderStrip("find-recent", recent);
  renderStrip("find-pinned", pinned);
}

/** On a phone, one row is shown, and the others are chosen by their shape. */
function renderChoice({ index, isChosen, name, text }) {
  const choose = () => {
    chosen = index;
    render();
  };
  return h("li", {}, h("button", { type: "button", "aria-label": `Show ${name}`, "aria-pressed": String(isChosen), onclick: choose },
    h("bdi", { class: "sign" }, text)));
}

const isPinned = ({ text }) => pinned.some((one) => one.text === text);
const copyButton = (text, title, match, content = text) =>
  h("button", { type: "button", class: "code", title, onclick: () => copy(text, match) }, content);

function renderRow({ id, index, isChosen, isPinned: isPressed, ...match }) {
  const { lookalikes, name, text } = match;
  const others = lookalikes.map((other) => copyButton(other.text, `Copy ${other.name}`, other, h("bdi", { class: "sign" }, other.text)));
  return h("li", { class: isChosen && "chosen" },
    h("button", { type: "button", class: "glyph", "aria-label": `Copy ${name}`, title: `Copy (${(index + 1) % 10})`,
      onclick: () => copyMatch(match) }, h("bdi", { class: "sign" }, text)),
    h("div", {},
      h("p", { class: "name" }, name.replace(/^cjk/, "CJK")),
      h("p", { class: "codes" }, Object.entries(CODES).filter(([, kind]) => match[kind]).map(([key, kind]) =>
        copyButton(match[kind], index ? "Copy this" : `Copy this (c, then ${key})`, match))),
      others.length > 0 && h("p", { class: "codes quiet" }, "Same shape: ", others)),
    h("button", { type: "button", class: "pin", "aria-pressed": String(isPressed), title: "Pin, to find it again or teach it",
      "aria-label": `Pin ${name}`, onclick: () => togglePin(match) }, isPressed ? "★" : "☆"));
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
  byId("find-group").selectedIndex = Math.max(0, [...byId("find-group").options].findIndex(({ value }) => value === next.join()));
  find();
}

const copyFirst = () => matches[chosen] && copyMatch(matches[chosen]);

/** A number copies the answer of that row; c and a letter a code of the first one. */
function handleKey({ altKey, ctrlKey, key, metaKey, target }) {
  if (!isTabOpen("find") || target.matches("input, select, textarea") || ctrlKey || metaKey || altKey) return;
  const [match, code] = [visibleRows()["1234567890".indexOf(key)], isCodeNext && matches[0]?.[CODES[key]]];
  isCodeNext = key === "c";
  if (code) copy(code, matches[0]);
  else if (match) copyMatch(match);
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
    "find-teach-first": () => (location.hash = "#teach"),
    "find-teach-pinned": () => attempt("bench-error", async () => {
      await mutate("/api/classes", { names: pinned.map(({ text }) => text) });
      location.hash = "#teach";
    }),
  });
  addEventListener("keydown", handleKey);
  const change = () => {
    isCopied = false;
    setTask(isPhotoOpen() ? describePhoto() : "Draw any character");
    find();
  };
  addTab("find", { start: startAnew, change, submit: copyFirst, clear: clearName });
}
