// The Studio's page: tabs, keys, dropped files and the theme.

import { changePad, openTab, pad, startBench } from "./bench.js";
import { startClass } from "./class.js";
import { byId, count, isolate, onClick } from "./dom.js";
import { startFind } from "./find.js";
import { startHistory, travel } from "./history.js";
import { startOutbox } from "./outbox.js";
import { openPictures } from "./photo.js";
import { repaintInk } from "./prediction.js";
import { startQuiz } from "./quiz.js";
import { startResults } from "./results.js";
import { renderReview, startReview } from "./review.js";
import { openFiles, startShare } from "./share.js";
import { startSigns } from "./signs.js";
import { drawingCount, follow, needDrawings, refresh, subscribe } from "./store.js";
import { startTeach } from "./teach.js";
import { startTheme } from "./theme.js";

let view = "find";

function route() {
  const name = location.hash.slice(1) || "find";
  const link = document.querySelector(`nav a[href="#${CSS.escape(name)}"]`);
  if (!link || link.hidden) return;
  view = name;
  for (const part of document.querySelectorAll("[data-tabs]")) part.hidden = !part.dataset.tabs.split(" ").includes(view);
  document.querySelector("nav [aria-current]")?.removeAttribute("aria-current");
  link.setAttribute("aria-current", "page");
  document.body.dataset.tab = view;
  needDrawings("review", view === "review");
  openTab(view);
  renderReview();
  scrollTo(0, 0);
}

/** Undo, redo and clear: on the pad of the view if there is something to do, else in the history. */
function handleKey(event) {
  const isControl = (event.ctrlKey || event.metaKey) && !event.altKey;
  const key = event.key.toLowerCase();
  const actions = isControl ? { z: event.shiftKey ? "redo" : "undo", y: "redo" } : { escape: "clear" };
  const action = actions[key];
  if (!action || event.target.matches("input:not([type=checkbox]), select, textarea, dialog *")) return;
  event.preventDefault();
  if (!changePad(action) && action !== "clear" && !event.repeat) travel(action);
}

function openAll(files) {
  const isSiglumFile = ({ name }) => /\.(siglum|zip)$/i.test(name);
  const pictures = files.filter((file) => !isSiglumFile(file));
  if (pictures.length < files.length) openFiles(files.filter(isSiglumFile));
  if (!pictures.length) return;
  if (view !== "find") location.hash = "#teach";
  openPictures(pictures);
}

function acceptFiles() {
  const listen = (type, handle) => addEventListener(type, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    byId("drop").hidden = type === "drop";
    handle?.(event);
  });
  listen("dragover");
  listen("drop", (event) => openAll([...event.dataTransfer.files]));
  addEventListener("dragleave", (event) => (byId("drop").hidden ||= !event.relatedTarget));
  addEventListener("paste", (event) => {
    const pictures = [...event.clipboardData.files].filter(({ type }) => type.startsWith("image/"));
    if (!pictures.length) return;
    event.preventDefault();
    openAll(pictures);
  });
}

function renderTitle({ title, classes }) {
  const [signs, drawings] = [count(classes.length, "sign"), count(drawingCount(), "drawing")];
  byId("title").textContent = `${isolate(title)} · ${signs} · ${drawings}`;
  document.title = `${title}: Siglum`;
}

subscribe(renderTitle);
startTheme(() => [repaintInk, pad.repaint].forEach((action) => action()));
for (const start of [acceptFiles, startFind, startSigns, startResults, startHistory, startQuiz, startReview, startShare, startTeach, startBench, startClass]) start();
addEventListener("hashchange", route);
addEventListener("keydown", handleKey);
onClick({ skip: () => byId("main").focus() });
await refresh().catch(() => {}); // then the page says that the connection is lost, and retries
startOutbox();
follow();
route();
