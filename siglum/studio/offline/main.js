// The exported page: draw a sign, see what it is, copy it.

import { announce, announceSteady, byId, count, h, headline, onClick, percent, renderList, setEnabled, signName } from "./dom.js";
import { copyText } from "./message.js";
import { createPad } from "./pad.js";
import { startTheme } from "./theme.js";

const SHOWN = 5; // answers
const MAX_SAMPLES = 300; // signs that the empty page names

const read = (id) => byId(id).textContent;
const { classes, ...model } = JSON.parse(read("model"));
const pad = createPad(byId("pad"), { onchange: handleChange, announce });
const worker = new Worker(URL.createObjectURL(new Blob([read("worker")], { type: "text/javascript" })));

let answer = null; // of the drawing on the pad
let isAsking = true; // until the worker is ready
let isOutdated = false; // the drawing changed since it was asked for
let askedPoint = 0; // when the newest point of that drawing was drawn

function handleChange() {
  setEnabled(byId("undo"), pad.canUndo());
  setEnabled(byId("redo"), pad.canRedo());
  setEnabled(byId("clear"), !pad.isEmpty());
  isOutdated = true;
  ask();
}

/** Ask for the newest drawing, one at a time. */
function ask() {
  if (isAsking || !isOutdated) return;
  isOutdated = false;
  if (pad.isEmpty()) return show(null);
  isAsking = true;
  askedPoint = pad.lastPointTime();
  worker.postMessage({ drawing: pad.drawing() });
}

worker.onmessage = ({ data }) => {
  if (data.error) return fail(data.error);
  isAsking = false;
  if (!pad.isEmpty() && askedPoint) show(data.answer);
  performance.clearMeasures("answer");
  performance.measure("answer", { start: askedPoint, end: performance.now() });
  ask();
};
worker.onerror = (event) => fail(event.message);

function fail(reason) {
  byId("problem").textContent = `This browser cannot run the recogniser: ${reason}. Use a current Chrome, Edge, Firefox or Safari.`;
}

function describe({ ranking, set, isRejected }) {
  const candidates = ranking.map(([label, probability]) => ({ name: classes[label].name, probability }));
  return headline(candidates, set.map((label) => classes[label].name), isRejected && "None of these signs.");
}

function show(next) {
  answer = next;
  byId("bench").toggleAttribute("data-ink", !pad.isEmpty());
  byId("prediction").dataset.kind = !answer ? "none" : answer.isRejected ? "rejected" : answer.set.length > 1 ? "unsure" : "sure";
  byId("headline").replaceChildren(...(answer ? describe(answer) : []));
  const rows = answer ? answer.ranking.slice(0, SHOWN) : [];
  renderList(byId("answers"), rows.map(([label, probability], index) => ({
    id: label, index, probability: probability.toFixed(4), share: answer.isRejected ? "" : percent(probability),
  })), renderAnswer);
  setEnabled(byId("copy"), Boolean(answer) && !answer.isRejected);
  announceSteady(byId("headline").innerText);
}

function renderAnswer({ id, index, probability, share }) {
  const { name } = classes[id];
  const text = textOf(id);
  return h("li", {}, h("button", { type: "button", title: `Copy ${text} (${index + 1})`, onclick: () => copyText(text) },
    signName(name), h("code", {}, text === name ? "" : text),
    share && h("span", { class: "bar", style: `--share: ${probability}` }), h("span", { class: "share" }, share)));
}

/** The text to copy for a class, in the format that was chosen. */
const textOf = (label) => classes[label].texts[byId("format").value];

function copyAnswer(index) {
  if (answer?.ranking[index] && !(answer.isRejected && !index)) copyText(textOf(answer.ranking[index][0]));
}

function handleKey(event) {
  if (event.target.matches("select") || event.altKey) return;
  const key = event.key.toLowerCase();
  const isControl = event.ctrlKey || event.metaKey;
  const action = isControl ? { z: event.shiftKey ? "redo" : "undo", y: "redo" }[key] : { escape: "clear" }[key];
  if (action) {
    event.preventDefault();
    pad[action]();
  } else if (!isControl && "12345".includes(key)) copyAnswer(Number(key) - 1);
}

const names = classes.slice(0, MAX_SAMPLES).flatMap(({ name }) => [signName(name), " "]);
byId("samples").replaceChildren(...names, classes.length > MAX_SAMPLES ? "…" : "");
byId("sign-count").textContent = count(classes.length, "sign");
byId("format").parentElement.hidden = classes.every(({ texts }) => new Set(Object.values(texts)).size === 1);
byId("format").addEventListener("change", () => show(answer));
byId("pad").addEventListener("keydown", ({ key }) => key === "Enter" && copyAnswer(0));
addEventListener("keydown", handleKey);
onClick({ undo: pad.undo, redo: pad.redo, clear: pad.clear, copy: () => copyAnswer(0) });
worker.postMessage({ model: { ...model, count: classes.length }, weights: read("weights"), kernel: read("kernel") });
handleChange();
if (document.querySelector("[rel=manifest]")) navigator.serviceWorker?.register("sw.js");
startTheme(pad.repaint);
