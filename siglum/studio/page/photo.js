// Photos: their signs are boxed and recognised; the chosen one takes the place of the drawing.

import { upload } from "./api.js";
import { announce, byId, h, isolate, onClick, renderList, showError, signName } from "./dom.js";
import { count } from "./format.js";
import { copyText, hideToast, toast } from "./history.js";
import { classById, needDrawings, onDrawings, setState, subscribe } from "./store.js";

const MARGIN = 0.15; // around a sign that is cut out, in its longer sides
const MAX_PIXELS = 25e6; // of a picture, as the server accepts it

let photo = null; // {file, bitmap, width, height, sideways, signs, chosen}
let queue = []; // files that were dropped together and are still to be opened
let notify = () => {};

export const isPhotoOpen = () => photo !== null;
export const getSign = () => photo?.signs[photo.chosen];

const nameOf = (id) => classById(id)?.name;
const bestName = ({ rejected, candidates: [best] }) => (rejected ? undefined : nameOf(best?.class));
const displayName = (sign) => nameOf(sign.saved?.class) ?? bestName(sign);
const rows = () => Object.values(Object.groupBy(photo.signs, ({ row }) => row));

/** The text of the page: a line for each row, with a question mark for each unknown sign. */
const readText = () => rows().map((row) => row.map((one) => displayName(one) ?? "?").join(" ")).join("\n");

export const describePhoto = () => `${count(photo.signs.length, "sign")} in ${count(rows().length, "row")}`;

/** Open pictures one after the other. */
export function openPictures(files) {
  queue = [...files, ...queue];
  return openNext();
}

async function openNext() {
  const file = queue.shift();
  const names = queue.map(({ name }) => isolate(name)).join(", ");
  byId("queue").hidden = !queue.length;
  byId("queue-names").textContent = `${count(queue.length, "more picture")}: ${names}`;
  if (!file) return;
  showError("bench-error");
  toast(`Reading ${isolate(file.name)}…`);
  try {
    show(await read(file));
  } catch ({ message }) {
    showError("bench-error", { message: `${isolate(file.name)}: ${message}` });
  }
  hideToast();
}

/** Recognise the signs of a picture; a single one comes with a heat map. */
const recognise = (file) => upload("/api/predict/image?heatmap=true", file);

/** Recognise a picture; one with more pixels than the server accepts is scaled down first. */
async function read(file) {
  const original = await createImageBitmap(file).catch(() => null); // then the server says what is wrong
  const { width, height } = original ?? { width: 1, height: 1 };
  const scale = Math.sqrt(MAX_PIXELS / (width * height));
  if (scale >= 1) return { file, bitmap: original, ...(await recognise(file)) };
  const size = [Math.floor(scale * width), Math.floor(scale * height)];
  const smaller = await cut(original, [0, 0, width, height], size, "image/jpeg");
  return { file: smaller, bitmap: await createImageBitmap(smaller), ...(await recognise(smaller)) };
}

/** A part of a bitmap as a file; transparent pixels become white. */
function cut(bitmap, part, [width, height], type) {
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, ...part, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, type, 0.95));
}

function show(next) {
  photo = { ...next, chosen: 0 };
  needDrawings("photo", true);
  const canvas = byId("photo-image");
  [canvas.width, canvas.height] = [photo.width, photo.height];
  canvas.getContext("2d").drawImage(photo.bitmap, 0, 0, photo.width, photo.height);
  canvas.parentElement.style.maxWidth = `calc(72dvh * ${photo.width / photo.height})`;
  byId("photo-boxes").replaceChildren();
  update();
  if (photo.sideways) showError("bench-error", new Error("This page seems to lie on its side. Rotate it."));
  if (!photo.signs.length) showError("bench-error", new Error("No sign found in this picture. Try more light or a thicker pen."));
  byId("task").focus();
  announce(`${describePhoto()}: ${readText()}`);
}

export function closePhoto() {
  if (!photo) return;
  photo = null;
  needDrawings("photo", false);
  notify();
}

function renderBox({ id, box: [top, left, bottom, right], name, kind, isChosen }) {
  const suffix = kind === "saved" ? ", saved" : "";
  const box = h("button", {
    type: "button",
    class: `box ${kind}`,
    "aria-label": `Sign ${id + 1}: ${name ? isolate(name) : "not one of yours"}${suffix}`,
    "aria-pressed": String(isChosen),
    onclick: () => {
      photo.chosen = id;
      update();
    },
  }, h("span", { class: "tag" }, kind === "saved" && "✓ ", name ? signName(name) : "?"));
  const [x, y] = [100 / photo.width, 100 / photo.height];
  [box.style.left, box.style.top] = [`${left * x}%`, `${top * y}%`];
  [box.style.width, box.style.height] = [`${(right - left) * x}%`, `${(bottom - top) * y}%`];
  return box;
}

function render() {
  if (!photo) return;
  const kind = (sign) => (sign.saved ? "saved" : sign.rejected || sign.prediction_set.length > 1 ? "unsure" : "sure");
  const boxes = photo.signs.map((sign, id) => ({
    id, box: sign.box, name: displayName(sign), kind: kind(sign), isChosen: id === photo.chosen,
  }));
  renderList(byId("photo-boxes"), boxes, renderBox);
  byId("photo-text").textContent = readText();
}

function update() {
  render();
  notify();
}

/** The chosen sign as a picture of its own. */
export function cutOut() {
  const { bitmap, file, width, height, signs } = photo;
  if (signs.length === 1) return file;
  const [top, left, bottom, right] = getSign().box;
  const margin = Math.round(MARGIN * Math.max(bottom - top, right - left));
  const [x, y] = [Math.max(0, left - margin), Math.max(0, top - margin)];
  const size = [Math.min(width, right + margin) - x, Math.min(height, bottom + margin) - y];
  const part = [x, y, ...size].map((length) => (length * bitmap.width) / width); // the server may have scaled it
  return cut(bitmap, part, part.slice(2).map(Math.round), "image/png");
}

/** Save the chosen sign as an example of a class. */
export async function saveSign(classId, author) {
  const [current, sign] = [photo, getSign()];
  const query = new URLSearchParams({ class: classId, split: "train", author });
  const answer = await upload(`/api/drawings/image?${query}`, await cutOut());
  sign.saved = { id: answer.id, class: classId, version: answer.state.version };
  setState(answer.state);
  toast(`Saved to ${isolate(nameOf(classId))}.`, { undo: true });
  if (photo !== current) return;
  if (getSign() === sign) photo.chosen = Math.min(photo.chosen + 1, photo.signs.length - 1);
  if (queue.length && photo.signs.every(({ saved }) => saved)) openNext();
  else readAgain();
}

async function readAgain() {
  const current = photo;
  update();
  const { signs } = await recognise(current.file).catch(() => current);
  current.signs.forEach((sign, index) => Object.assign(sign, signs[index]));
  if (photo === current) update();
}

/** Drop what has been deleted since it was saved, and follow what was moved to another sign. */
function checkSaved(drawings, version) {
  if (!photo || version === null) return;
  const classes = new Map(drawings.map((one) => [one.id, one.class]));
  const saved = photo.signs.filter((sign) => sign.saved && sign.saved.version <= version);
  for (const sign of saved) {
    if (classes.has(sign.saved.id)) sign.saved.class = classes.get(sign.saved.id);
    else sign.saved = null;
  }
  if (saved.some((sign) => !sign.saved)) readAgain();
  else render();
}

export function startPhoto(onchange) {
  notify = onchange;
  byId("photo").addEventListener("change", ({ target }) => {
    openPictures([...target.files]);
    target.value = "";
  });
  onClick({ "next-picture": openNext, "photo-back": closePhoto, "photo-copy": () => copyText(readText()) });
  onDrawings(checkSaved);
  subscribe(render);
}
