// Photos: their signs are boxed and recognised; the chosen one takes the place of the drawing.

import { upload } from "./api.js";
import { announce, attempt, byId, count, h, isolate, onClick, renderList, showError, signName } from "./dom.js";
import { toast } from "./history.js";
import { copyText } from "./message.js";
import { classById, getAuthor, mutate, needDrawings, onDrawings, setState, subscribe } from "./store.js";

const MARGIN = 0.15; // around a sign that is cut out, in its longer sides
const MAX_PIXELS = 25e6; // of a picture, as the server accepts it

let photo = null; // {file, bitmap, width, height, sideways, signs, chosen, isLive}
let queue = []; // files that were dropped together and are still to be opened
let notify = () => {};

export const isPhotoOpen = () => photo !== null;
export const isLive = () => Boolean(photo?.isLive);
export const getSign = () => photo?.signs[photo.chosen];

const nameOf = (id) => classById(id)?.name;
const bestClass = ({ rejected, candidates: [best] }) => (rejected ? undefined : classById(best?.class));
const classOf = (sign) => classById(sign.saved?.class) ?? bestClass(sign);
const rows = () => Object.values(Object.groupBy(photo.signs, ({ row }) => row));

/** The outputs of the page's signs: a line for each row, with a question mark for each unknown sign. */
const readText = () => rows().map((row) => row.map((one) => classOf(one)?.output ?? "?").join(" ")).join("\n");

export const describePhoto = () =>
  isLive() ? "Hold it in the frame" : !getSign() ? "No sign found" : `${count(photo.signs.length, "sign")} in ${count(rows().length, "row")}`;

/** Open pictures one after the other. */
export function openPictures(files) {
  queue = [...files, ...queue];
  return openNext();
}

async function openNext() {
  const file = queue.shift();
  byId("queue").hidden = !queue.length;
  byId("queue-names").textContent = `${count(queue.length, "more picture")}: ${queue.map(({ name }) => isolate(name)).join(", ")}`;
  if (file) await openFile(file);
}

async function openFile(file) {
  showError("bench-error");
  byId("bench").setAttribute("aria-busy", "true");
  try {
    show(await read(file));
  } catch ({ message }) {
    if (isLive()) closePhoto(); // else the next picture would clear the error
    showError("bench-error", { message: `${isolate(file.name)}: ${message}` });
  }
  byId("bench").removeAttribute("aria-busy");
}

/** Recognise the signs of a picture; a single one comes with a heat map. */
const recognise = (file) => upload("/api/predict/image?heatmap=true", file);

/** Recognise a picture; one with more pixels than the server accepts is scaled down first. */
async function read(file) {
  const bitmap = await createImageBitmap(file).catch(() => null); // then the server says what is wrong
  const scale = bitmap ? Math.sqrt(MAX_PIXELS / (bitmap.width * bitmap.height)) : 1;
  if (scale >= 1) return { file, bitmap, ...(await recognise(file)) };
  const size = [bitmap.width, bitmap.height].map((length) => Math.floor(scale * length));
  return read(await paint(size, "image/jpeg", (context) => context.drawImage(bitmap, 0, 0, ...size)));
}

/** A picture as a file; transparent pixels become white. */
export function paint([width, height], type, draw) {
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  draw(context);
  return new Promise((resolve) => canvas.toBlob(resolve, type, 0.95));
}

/** Turn the picture clockwise by a quarter, and read it again. */
async function rotate() {
  const { bitmap, file } = photo;
  const turned = await paint([bitmap.height, bitmap.width], "image/jpeg", (context) => {
    context.translate(bitmap.height, 0);
    context.rotate(Math.PI / 2);
    context.drawImage(bitmap, 0, 0);
  });
  await openFile(new File([turned], file.name, { type: turned.type }));
}

/** Read a picture of the camera, which a later one replaces. */
export const readFrame = async (file) => ({ file, bitmap: await createImageBitmap(file), ...(await upload("/api/predict/image", file)) });

/** Show what was read in the camera's picture; the answer is about the sign next to its centre. */
export function showFrame(frame) {
  const distance = ([top, left, bottom, right]) => Math.hypot(top + bottom - frame.height, left + right - frame.width);
  const distances = frame.signs.map(({ box }) => distance(box));
  open({ ...frame, isLive: true, chosen: Math.max(0, distances.indexOf(Math.min(...distances))) });
}

function open(next) {
  photo = next;
  const canvas = byId("photo-image");
  [canvas.width, canvas.height] = [photo.width, photo.height];
  canvas.getContext("2d").drawImage(photo.bitmap, 0, 0, photo.width, photo.height);
  canvas.parentElement.style.setProperty("--ratio", photo.width / photo.height);
  byId("photo-boxes").inert = isLive();
  update();
}

function show(next) {
  byId("photo-boxes").replaceChildren();
  open({ ...next, chosen: 0 });
  needDrawings("photo", true);
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
  byId("pad").focus({ preventScroll: true });
}

function renderBox({ id, box: [top, left, bottom, right], name, kind, isChosen }) {
  const label = `Sign ${id + 1}: ${name ? isolate(name) : "not one of yours"}${kind === "saved" ? ", saved" : ""}`;
  const box = h("button", { type: "button", class: `box ${kind}`, "aria-label": label, "aria-pressed": String(isChosen), onclick: () => choose(id) },
    h("span", { class: "tag" }, kind === "saved" && "✓ ", name ? signName(name) : "?"));
  const [x, y] = [100 / photo.width, 100 / photo.height];
  [box.style.left, box.style.top] = [`${left * x}%`, `${top * y}%`];
  [box.style.width, box.style.height] = [`${(right - left) * x}%`, `${(bottom - top) * y}%`];
  return box;
}

const kindOf = (sign) => (sign.saved ? "saved" : sign.rejected || sign.prediction_set.length !== 1 ? "unsure" : "sure");
const sureSigns = () => photo.signs.filter((sign) => kindOf(sign) === "sure" && bestClass(sign));

function render() {
  if (!photo) return;
  const boxes = photo.signs.map((sign, id) => ({
    id, box: sign.box, name: classOf(sign)?.name, kind: kindOf(sign), isChosen: id === photo.chosen,
  }));
  renderList(byId("photo-boxes"), boxes, renderBox);
  byId("photo-text").textContent = readText();
  byId("photo-save").hidden = sureSigns().length < 2;
  byId("photo-save").textContent = `Save the ${sureSigns().length} sure ones`;
}

function update() {
  render();
  notify();
}

function choose(id) {
  photo.chosen = id;
  update();
}

/** A sign as a picture of its own; by default the chosen one. */
export function cutOut(sign = getSign()) {
  const { bitmap, file, width, height, signs } = photo;
  if (signs.length === 1) return file;
  const [top, left, bottom, right] = sign.box;
  const margin = Math.round(MARGIN * Math.max(bottom - top, right - left));
  const [x, y] = [Math.max(0, left - margin), Math.max(0, top - margin)];
  const size = [Math.min(width, right + margin) - x, Math.min(height, bottom + margin) - y];
  const part = [x, y, ...size].map((length) => (length * bitmap.width) / width); // the server may have scaled it
  const target = part.slice(2).map(Math.round);
  return paint(target, "image/png", (context) => context.drawImage(bitmap, ...part, 0, 0, ...target));
}

async function saveAs(sign, classId) {
  const query = new URLSearchParams({ class: classId, split: "train", author: getAuthor() });
  const answer = await upload(`/api/drawings/image?${query}`, await cutOut(sign));
  sign.saved = { id: answer.id, class: classId, version: answer.state.version };
  setState(answer.state);
  return answer.id;
}

/** Save the chosen sign as an example of a class. */
export async function saveSign(classId) {
  const [current, sign] = [photo, getSign()];
  await saveAs(sign, classId);
  toast(`Saved to ${isolate(nameOf(classId))}.`, { undo: true });
  if (photo !== current) return;
  if (getSign() === sign) photo.chosen = Math.min(photo.chosen + 1, photo.signs.length - 1);
  if (queue.length && photo.signs.every(({ saved }) => saved)) openNext();
  else readAgain();
}

/** Save every sign that is read without a doubt, as what it is read as. */
async function saveSure() {
  const [current, ids] = [photo, []];
  for (const sign of sureSigns()) {
    try {
      if (photo === current) ids.push(await saveAs(sign, sign.candidates[0].class));
    } catch (error) {
      if (error.status !== 409) throw error; // that one was saved before
    }
  }
  const undo = () => mutate("/api/drawings/move", { drawings: ids, class: null });
  toast(`Saved ${count(ids.length, "drawing")}.`, { undo });
  if (photo === current) readAgain();
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
  onClick({
    "next-picture": openNext, "photo-back": closePhoto, "photo-rotate": rotate, "photo-copy": () => copyText(readText()),
    "photo-save": () => attempt("bench-error", saveSure),
  });
  onDrawings(checkSaved);
  subscribe(render);
}
