// The Studio's page: views, keys, dropped files and the theme.

import { byId, h, onClick } from "./dom.js";
import { needDrawings, startDrawings } from "./drawings.js";
import { count } from "./format.js";
import { startHistory, travel } from "./history.js";
import { repaintInk } from "./ink.js";
import { startLearning } from "./learning-curve.js";
import { startOutbox } from "./outbox.js";
import { openPictures } from "./photo.js";
import { handleQuizKey, renderQuiz, repaintQuiz, startQuiz } from "./quiz.js";
import { renderReview, startReview } from "./review.js";
import { openFiles, startShare } from "./share.js";
import { startSigns } from "./signs.js";
import { drawingCount, follow, refresh, subscribe } from "./store.js";
import { handleTeachKey, pad, startTeach } from "./teach.js";

const VIEWS = { teach: () => {}, test: renderQuiz, review: renderReview, share: () => {} };
const PAD_KEYS = { teach: handleTeachKey, test: handleQuizKey };

let view = "teach";

function route() {
  const name = location.hash.slice(1) || "teach";
  if (!(name in VIEWS)) return;
  view = name;
  for (const other of Object.keys(VIEWS)) byId(`view-${other}`).hidden = other !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  needDrawings("review", view === "review");
  VIEWS[view]();
  scrollTo(0, 0);
}

/** Undo, redo and clear: on the pad of the view if there is something to do, else in the history. */
function handleKey(event) {
  const isTyping = event.target.matches("input:not([type=checkbox]), select, textarea");
  const isControl = (event.ctrlKey || event.metaKey) && !event.altKey;
  const letter = event.key.toLowerCase();
  let action = null;
  if (isControl && letter === "z") action = event.shiftKey ? "redo" : "undo";
  else if (isControl && letter === "y") action = "redo";
  else if (event.key === "Escape" && !isControl) action = "clear";
  if (!action || isTyping) return;
  event.preventDefault();
  if (PAD_KEYS[view]?.(action)) return;
  if (action !== "clear" && !event.repeat) travel(action);
}

function openAll(files) {
  const isSiglumFile = ({ name }) => /\.(siglum|zip)$/i.test(name);
  const pictures = files.filter((file) => !isSiglumFile(file));
  if (pictures.length) location.hash = "#teach";
  if (pictures.length) openPictures(pictures);
  if (pictures.length < files.length) openFiles(files.filter(isSiglumFile));
}

function acceptFiles() {
  const isDraggingFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!isDraggingFiles(event)) return;
    event.preventDefault();
    byId("drop").hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) byId("drop").hidden = true;
  });
  addEventListener("drop", (event) => {
    if (!isDraggingFiles(event)) return;
    event.preventDefault();
    byId("drop").hidden = true;
    openAll([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const pictures = [...(event.clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/"));
    if (!pictures.length) return;
    event.preventDefault();
    openAll(pictures);
  });
}

function startTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = localStorage.getItem("siglum.theme");
  if (stored) root.dataset.theme = stored;
  const apply = () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    byId("theme").setAttribute("aria-pressed", isDark);
    for (const repaint of [repaintInk, pad.repaint, repaintQuiz]) repaint();
  };
  system.addEventListener("change", apply);
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = byId("theme").getAttribute("aria-pressed") === "true" ? "light" : "dark";
    localStorage.setItem("siglum.theme", root.dataset.theme);
    apply();
  });
  apply();
}

function renderTitle({ title, classes }) {
  const summary = ` · ${count(classes.length, "sign")} · ${count(drawingCount(), "drawing")}`;
  byId("title").replaceChildren(h("bdi", {}, title), summary);
  document.title = `${title}: Siglum`;
}

subscribe(renderTitle);
for (const start of [startSigns, startLearning, startHistory, startQuiz, startReview, startShare, startTeach]) start();
startTheme();
acceptFiles();
addEventListener("hashchange", route);
addEventListener("keydown", handleKey);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
await refresh().catch(() => {}); // then the page says that the connection is lost, and retries
startDrawings();
startOutbox();
follow();
route();
