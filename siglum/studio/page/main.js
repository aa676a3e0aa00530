// The studio's page: its views, its keys, what is dropped on it, and how it looks.

import { openCheck, quizKey, repaintQuiz, startCheck } from "./check.js";
import { openCorrect, startCorrect } from "./correct.js";
import { byId, make } from "./dom.js";
import { padKey, repaintPad, startDraw } from "./draw.js";
import { startGrowth } from "./growth.js";
import { startHistory, turnBack } from "./history.js";
import { repaint } from "./ink.js";
import { startKeeping } from "./keeping.js";
import { openPicture, startPhoto } from "./photo.js";
import { followSamples, lookAtSamples } from "./samples.js";
import { isLost, onLost, tryAgain } from "./server.js";
import { startSigns } from "./signs.js";
import { follow, onState, refresh } from "./state.js";
import { startStuck } from "./stuck.js";
import { openFile, startTake } from "./take.js";
import { onUnsent, takeUp, unsent } from "./unsent.js";
import { count } from "./words.js";

const VIEWS = { draw: null, check: openCheck, correct: openCorrect, take: null };
const dark = matchMedia("(prefers-color-scheme: dark)");

let view = "draw";

function route() {
  const name = location.hash.slice(1);
  if (!(name in VIEWS) && name) return;
  view = name || "draw";
  for (const other of Object.keys(VIEWS)) byId(`view-${other}`).hidden = other !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  lookAtSamples(view === "correct");
  VIEWS[view]?.();
  scrollTo(0, 0);
}

function keys(event) {
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  const control = (event.ctrlKey || event.metaKey) && !event.altKey;
  const letter = event.key.toLowerCase();
  let key = null;
  if (control && letter === "z") key = event.shiftKey ? "redo" : "undo";
  else if (control && letter === "y") key = "redo";
  else if (event.key === "Escape" && !control) key = "clear";
  if (!key || typing) return;
  event.preventDefault();
  if (view === "draw" && byId("page").hidden && padKey(key)) return;
  if (view === "check" && quizKey(key)) return;
  if (key !== "clear" && !event.repeat) turnBack(key);
}

function opened(file) {
  if (/\.(siglum|zip)$/i.test(file.name)) openFile(file);
  else {
    location.hash = "#draw";
    openPicture(file);
  }
}

function drops() {
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    byId("drop").hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) byId("drop").hidden = true;
  });
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    byId("drop").hidden = true;
    if (event.dataTransfer.files[0]) opened(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    opened(file);
  });
}

function theme() {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const changed = () => {
    byId("theme").textContent = isDark() ? "Show light" : "Show dark";
    repaint();
    repaintPad();
    repaintQuiz();
  };
  const stored = localStorage.getItem("siglum.theme");
  if (stored) root.dataset.theme = stored;
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("siglum.theme", root.dataset.theme);
    changed();
  });
  dark.addEventListener("change", changed);
  changed();
}

function lostWords() {
  if (!isLost()) return byId("lost").replaceChildren();
  const wait = `${count(unsent(), "drawing")} ${unsent() === 1 ? "waits" : "wait"} here, to be sent when it is back.`;
  const retry = make("button", { type: "button", onclick: () => tryAgain() }, "Try now");
  byId("lost").replaceChildren(
    make("p", {}, `${isLost()} What you draw stays on this page. ${unsent() ? wait : ""}`),
    retry,
  );
}

function titles({ title, classes }) {
  const total = classes.reduce((sum, one) => sum + one.taught + one.quiz, 0);
  const parts = [count(classes.length, "sign"), count(total, "drawing")];
  byId("title").replaceChildren(make("bdi", {}, title), ` · ${parts.join(" · ")}`);
  document.title = `${title}: Siglum`;
}

startSigns();
startGrowth();
startHistory();
startPhoto();
startCheck();
startCorrect();
startTake();
startStuck();
startDraw();
startKeeping();
followSamples();
onState(titles);
onLost(lostWords);
onUnsent(lostWords);
theme();
drops();
addEventListener("hashchange", route);
addEventListener("keydown", keys);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
try {
  await refresh();
} catch {
  // The page says that the server is lost, and looks for it.
}
takeUp();
follow();
route();
