// Photos: one character goes to the pad, a page of several is boxed and read.

import { createAnswer } from "./answer.js";
import { byId, isolated, make, said, sign, tell } from "./dom.js";
import { showPicture } from "./draw.js";
import { addSigns, pictureAddress } from "./keeping.js";
import { send } from "./server.js";
import { classOf, onState, take } from "./state.js";
import { count } from "./words.js";

const MARGIN = 0.15; // around a character that is cut out, in its longer sides
const MOST = 25e6; // pixels of a picture, as the server takes them

let page = null; // {bitmap, width, height, characters, chosen}

/** Read a picture file; says what is wrong with it on the card. */
export async function openPicture(given) {
  const complain = (...words) => byId(page ? "page-said" : "said").replaceChildren(...words);
  complain();
  tell("Reading the picture.");
  try {
    const [file, bitmap] = await taken(given);
    const found = await send("/api/picture", file);
    if (found.characters.length > 1) showPage({ bitmap, ...found, chosen: 0 });
    else {
      closePage();
      showPicture(file, bitmap, found.characters[0]);
    }
  } catch (error) {
    complain(said(error.message));
  }
}

/** A picture as it is sent and as it is shown; scaled where it has more pixels than the server takes. */
async function taken(file) {
  const bitmap = await createImageBitmap(file).catch(() => null); // the server says what is wrong with it
  const scale = bitmap ? Math.sqrt(MOST / (bitmap.width * bitmap.height)) : 1;
  if (scale >= 1) return [file, bitmap];
  const [width, height] = [Math.floor(scale * bitmap.width), Math.floor(scale * bitmap.height)];
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const smaller = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
  return [smaller, await createImageBitmap(smaller)];
}

function closePage() {
  page = null;
  byId("page").hidden = true;
  byId("page").replaceChildren();
  byId("bench").hidden = false;
}

function rows() {
  const found = [];
  for (const character of page.characters) (found[character.row] ??= []).push(character);
  return found.filter(Boolean);
}

function best({ none, answers }) {
  const one = !none && answers[0] && classOf(answers[0].class);
  return one ? one.name : null;
}

/** The text as it is read: a row a line, unread signs as a question mark. */
const read = () => rows().map((row) => row.map((one) => best(one) ?? "?").join(" ")).join("\n");

function showPage(found) {
  page = found;
  byId("bench").hidden = true;
  const canvas = make("canvas", { width: found.width, height: found.height, role: "img",
    "aria-label": "The picture" });
  canvas.getContext("2d").drawImage(found.bitmap, 0, 0, found.width, found.height);
  const boxes = found.characters.map((character, place) => {
    const [top, left, bottom, right] = character.box;
    const box = make("button", { type: "button", class: "box", onclick: () => choose(place) });
    const [x, y] = [100 / found.width, 100 / found.height];
    box.style.left = `${left * x}%`;
    box.style.top = `${top * y}%`;
    box.style.width = `${(right - left) * x}%`;
    box.style.height = `${(bottom - top) * y}%`;
    return box;
  });
  const frame = make("div", { class: "photo" }, canvas, ...boxes);
  frame.style.maxWidth = `calc(72dvh * ${found.width / found.height})`;
  const lines = rows().length;
  const title = `${count(found.characters.length, "character")} in ${count(lines, "row")}`;
  byId("page").replaceChildren(
    make("div", { class: "board" },
      make("h1", { id: "page-title", tabindex: "-1" }, title),
      found.sideways && make("p", { class: "said" },
        "It looks as if the page lay on its side. It is read as it lies: turn the picture for a better reading."),
      frame,
      make("div", { class: "tools" },
        make("button", { type: "button", onclick: back }, "Back to the pad"),
        make("button", { type: "button", onclick: copy }, "Copy the text")),
      make("pre", { id: "page-text" })),
    make("div", { class: "card answer" },
      make("h2", {}, "What it is"),
      make("div", { id: "page-answer" }),
      keepForm(),
      make("div", { id: "page-said", class: "said", role: "alert" })),
  );
  page.answer = createAnswer(byId("page-answer"), { onpick: (id) => keepChosen(id) });
  page.boxes = boxes;
  byId("page").hidden = false;
  refresh();
  byId("page-title").focus();
  tell(`${title}: ${read()}`);
}

function keepForm() {
  const name = make("input", { id: "page-name", maxlength: "100", autocomplete: "off", list: "names" });
  const submit = async (event) => {
    event.preventDefault();
    const top = page.characters[page.chosen];
    try {
      const [id] = name.value.trim() ? await addSigns([name.value.trim()]) : [top.answers[0]?.class];
      if (id) await keepChosen(id);
    } catch (error) {
      byId("page-said").replaceChildren(said(error.message));
    }
  };
  return make("form", { onsubmit: submit },
    make("label", { for: "page-name" }, "Right? Press Enter. Wrong? Say what it was."),
    make("div", { class: "field" }, name, make("button", { class: "main" }, "Keep")));
}

function back() {
  closePage();
  byId("pad").focus();
}

async function copy() {
  try {
    await navigator.clipboard.writeText(read());
    tell("Copied.");
  } catch {
    getSelection().selectAllChildren(byId("page-text"));
    tell("Selected: copy it with Control C.");
  }
}

function choose(place) {
  page.chosen = place;
  refresh();
}

/** Show names as they are now, and the chosen character's answers. */
function refresh() {
  if (!page) return;
  page.boxes.forEach((box, place) => {
    const character = page.characters[place];
    const name = best(character);
    box.classList.toggle("doubtful", !name || character.set.length > 1);
    box.classList.toggle("kept", Boolean(character.kept));
    box.setAttribute("aria-pressed", place === page.chosen);
    const what = name ? isolated(name) : "none of your signs";
    box.setAttribute("aria-label", `Character ${place + 1}: ${what}${character.kept ? ", kept" : ""}`);
    box.replaceChildren(make("span", { class: "tag" }, name ? sign(name) : "?"));
  });
  byId("page-text").textContent = read();
  page.answer.show(page.characters[page.chosen]);
  byId("page-name").placeholder = best(page.characters[page.chosen]) ?? "";
}

/** Cut the chosen character out, with some paper around it, and keep it as a sample. */
async function keepChosen(id) {
  const shown = page;
  const character = shown.characters[shown.chosen];
  byId("page-said").replaceChildren();
  const [top, left, bottom, right] = character.box;
  const margin = Math.round(MARGIN * Math.max(bottom - top, right - left));
  const [x, y] = [Math.max(0, left - margin), Math.max(0, top - margin)];
  const width = Math.min(shown.width, right + margin) - x;
  const height = Math.min(shown.height, bottom + margin) - y;
  const scale = shown.bitmap.width / shown.width; // the server may have read it smaller
  const piece = make("canvas", { width: Math.round(scale * width), height: Math.round(scale * height) });
  const from = [x, y, width, height].map((length) => scale * length);
  piece.getContext("2d").drawImage(shown.bitmap, ...from, 0, 0, piece.width, piece.height);
  const file = await new Promise((done) => piece.toBlob(done, "image/png"));
  try {
    take((await send(pictureAddress(id), file)).state);
    character.kept = id;
    tell(`Kept as ${classOf(id)?.name}.`);
    if (page !== shown) return;
    if (shown.characters[shown.chosen] !== character) return refresh();
    byId("page-name").value = "";
    choose(Math.min(shown.chosen + 1, shown.characters.length - 1));
  } catch (error) {
    byId("page-said").replaceChildren(said(error.message));
  }
}

export function startPhoto() {
  byId("photo").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (file) openPicture(file);
  });
  onState(refresh);
}
