// Keeping what is on the pad as a sample of a sign, which may be a new one.

import { byId, make, sign, tell } from "./dom.js";
import { best, complain, dontWait, drawingNumber, inHand, keepBy, nothing, pad, takeInHand } from "./draw.js";
import { send } from "./server.js";
import { change, classOf, named, now, take } from "./state.js";
import { keep } from "./unsent.js";
import { count } from "./words.js";

const ENOUGH = 3; // drawings of a sign, to begin with

export const writer = () => byId("writer").value.trim();

/** Keep the drawing; it is sent again and again until the server has it. */
async function keepAs(id) {
  dontWait();
  if (pad.empty) return;
  if (pad.picture) return keepPicture(id);
  const kept = keep({ class: id, drawing: pad.drawing(), part: "taught", writer: writer() });
  pad.reset();
  nothing("Keeping it as ", sign(classOf(id)?.name ?? ""));
  try {
    thanks(id, (await kept).id);
  } catch {
    if (pad.empty) nothing(); // the head of the page says why, and what can be done
  }
}

async function keepPicture(id) {
  const which = drawingNumber();
  try {
    const answer = await send(pictureAddress(id), pad.picture.file);
    take(answer.state);
    if (which === drawingNumber()) pad.reset();
    thanks(id, answer.id);
  } catch (error) {
    complain(error);
  }
}

/** Where a picture goes that is kept as a sample. */
export function pictureAddress(id) {
  return `/api/picture?${new URLSearchParams({ class: id, part: "taught", writer: writer() })}`;
}

function thanks(id, sample) {
  const one = classOf(id);
  if (!one) return;
  tell(`Kept as ${one.name}. ${count(one.taught, "drawing")}.`);
  if (!pad.empty) return;
  const undo = async () => {
    byId("pad").focus({ preventScroll: true });
    if (pad.empty) nothing();
    try {
      await change("/api/samples/delete", { samples: [sample] });
      tell("Undone.");
    } catch (error) {
      complain(error);
    }
  };
  const many = make("span", { class: "quiet" }, count(one.taught, "drawing"));
  nothing("Kept as ", sign(one.name), many, make("button", { type: "button", onclick: undo }, "Undo"), ...another(one));
}

/** Once a sign that is being taught has enough to begin with: the next one that has not. */
function another({ id, taught }) {
  const next = now().classes.find((one) => one.id !== id && !one.print && one.taught < ENOUGH);
  if (inHand() !== id || taught < ENOUGH || !next) return [];
  return [make("button", { type: "button", onclick: () => takeInHand(next.id) }, "Now ", sign(next.name))];
}

/** Add signs that are not there yet; returns their ids. */
export async function addSigns(names) {
  const ids = [];
  for (const name of names) ids.push(named(name)?.id ?? (await change("/api/classes", { name })).id);
  return ids;
}

/** After signs were added: draw the first of which nothing is known. */
export function startWith(ids) {
  const unknown = ids.map(classOf).find((one) => one && !one.print && !one.taught);
  if (unknown) takeInHand(unknown.id);
  else byId("pad").focus({ preventScroll: true });
}

async function keepNamed(event) {
  event.preventDefault();
  if (pad.empty) return;
  const name = byId("keep-name").value.trim();
  const id = inHand() ?? best()?.class;
  if (!name && !id) {
    byId("keep-name").focus();
    return;
  }
  dontWait();
  const which = drawingNumber();
  try {
    const wanted = name ? (await addSigns([name]))[0] : id;
    if (which !== drawingNumber()) return;
    await keepAs(wanted);
    if (byId("keep-name") === document.activeElement) byId("pad").focus({ preventScroll: true });
  } catch (error) {
    complain(error);
  }
}

/** The names in what was typed: parted by commas; by blanks only where no name can have them. */
function severalNames(text) {
  const words = text.split(/\s+/);
  const short = words.every((word) => [...word].length === 1);
  const pair = words.length === 2 && !now()?.classes.length; // the first two were asked for
  const names = /[,;]/.test(text) ? text.split(/[,;]/) : short || pair ? words : [text];
  return names.map((name) => name.trim()).filter(Boolean);
}

async function nameFirst(event) {
  event.preventDefault();
  const text = byId("first-names").value.trim();
  try {
    const ids = await addSigns(severalNames(text));
    byId("first-names").value = "";
    if (ids.length) startWith(ids);
  } catch (error) {
    complain(error);
  }
}

export function startKeeping() {
  keepBy(keepAs);
  byId("keep").addEventListener("submit", keepNamed);
  byId("keep-name").addEventListener("input", dontWait); // who types decides
  byId("first").addEventListener("submit", nameFirst);
  byId("pad").addEventListener("keydown", (event) => {
    if (event.key === "Enter") keepNamed(event);
  });
  byId("writer").value = localStorage.getItem("siglum.writer") ?? "";
  byId("writer").addEventListener("change", () => localStorage.setItem("siglum.writer", writer()));
}
