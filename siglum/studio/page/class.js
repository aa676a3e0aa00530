// A class: pupils follow the lesson; the teacher invites them, sets their task and sees what they draw.

import { get } from "./api.js";
import { pad } from "./bench.js";
import { accuracy, attempt, byId, count, h, onClick, renderList, setOptions, signName, thumbnail } from "./dom.js";
import { classById, getState, mutate, selectSign, subscribe } from "./store.js";

const POLL = 3000; // ms between two looks at who is here
const MAX_SUSPICIOUS = 5; // thumbnails in a row of the overview
const TASK = "siglum.task"; // in the tab's storage: the last task that it started

let task = null; // id of the sign that everybody is to draw

function startTask() {
  sessionStorage.setItem(TASK, task);
  if (!pad.isEmpty()) pad.clear(); // the drawing is of another sign; undo restores it
  location.hash = "#teach";
  selectSign(task);
}

function render({ authors, classes, classroom }) {
  const { role = "owner", name = "", paused: isPaused = false, may_add: mayAdd, task: next = null } = classroom ?? {};
  const isPupil = role === "pupil";
  if (name === null && isPupil) location.reload(); // the teacher took the name away
  Object.assign(document.body.dataset, { role, mayAdd: !isPupil || mayAdd }); // the style sheet hides what is refused
  document.querySelector("nav a[href='#class']").hidden = role !== "teacher";
  document.querySelector("nav a[href='#share']").hidden = isPupil;
  for (const part of document.querySelectorAll("main, header .tools")) part.inert = isPupil && isPaused;
  task = next;
  if (!task) sessionStorage.removeItem(TASK);
  if (role === "teacher") renderRules(classes, isPaused, mayAdd);
  if (!isPupil) return;
  renderLesson(isPaused, authors[0]?.classes[task] ?? 0);
  if (task && task !== sessionStorage.getItem(TASK)) startTask();
}

/** The pupil's task, and how many drawings of it they have. */
function renderLesson(isPaused, done) {
  const sign = classById(task);
  byId("lesson").hidden = !isPaused && !sign;
  const items = isPaused ? [{ id: "paused" }] : sign ? [{ id: task, name: sign.name, done }] : [];
  renderList(byId("lesson"), items, ({ name }) => isPaused ? h("p", {}, "Paused. Look at your teacher.") : h("p", {},
    h("button", { type: "button", class: "primary", onclick: startTask }, "Draw ", signName(name), " now"),
    done ? ` ${count(done, "drawing")} by you` : ""));
}

function renderRules(classes, isPaused, mayAdd) {
  setOptions(byId("task-class"), [{ id: "", name: "what they like" }, ...classes]);
  byId("task-class").value = task ?? "";
  byId("pause").setAttribute("aria-pressed", isPaused);
  byId("may-add").checked = mayAdd;
}

function setRules(changes) {
  const { paused, may_add } = getState().classroom;
  change("", { paused, may_add, task, ...changes });
}

const change = (path, body) =>
  attempt("class-error", () => mutate(`/api/classroom${path}`, body)).then(refreshOverview);

/** Fetch who is here, while the teacher looks. */
async function refreshOverview() {
  const isOpen = location.hash === "#class" || byId("invite-dialog").open;
  if (getState()?.classroom?.role !== "teacher" || document.hidden || !isOpen) return;
  const overview = await get("/api/classroom").catch(() => null);
  if (overview) renderOverview(overview);
}

function renderOverview({ link, pupils }) {
  const joined = pupils.filter((one) => one.joined);
  const present = joined.filter((one) => one.present);
  const done = joined.filter((one) => one.classes[task]).length;
  const sign = classById(task);
  byId("class-summary").replaceChildren(
    joined.length ? `${present.length} of ${count(joined.length, "pupil")} here now. ` : "Nobody has joined yet. Invite pupils: they scan a code and enter a name.",
    ...(sign && joined.length ? [signName(sign.name), `: drawn by ${done} of ${joined.length}.`] : []));
  const names = Object.fromEntries(getState().classes.map((one) => [one.id, one.name]));
  renderList(byId("pupils"), pupils.map((one) => ({ ...one, id: one.name, names })), renderPupil);
  byId("invite-link").textContent = link.replace("http://", "");
  byId("invite-link").href = link;
  renderList(byId("invite-names"), present.map(({ name }) => ({ id: name })), ({ id }) => h("li", {}, h("bdi", {}, id)));
  byId("invite-count").textContent = `${present.length} here now`;
}

function renderPupil({ name, joined: hasJoined, present: isPresent, drawings, classes, suspicious, accuracy: rate, names }) {
  const counts = Object.entries(classes).map(([id, number]) => h("span", {}, signName(names[id] ?? ""), ` ${number}`));
  const label = `${suspicious.length} look wrong`;
  const review = () => (byId("filter-suspicious").checked = true);
  return h("li", { class: isPresent && "present" },
    h("b", {}, h("bdi", {}, name), h("span", { class: "hidden-text" }, isPresent && ", here")),
    h("span", {}, count(drawings, "drawing")),
    h("span", { class: "tools" }, counts),
    h("span", { title: rate && accuracy(rate) }, rate && `${rate.hits} of ${rate.total} recognised`),
    h("a", { href: "#review", class: "thumbnails", title: label, "aria-label": label, onclick: review },
      suspicious.slice(-MAX_SUSPICIOUS).map((id) => thumbnail({ id }))),
    hasJoined && h("button", { type: "button", title: "Asks for another name", onclick: () => change("/remove", { name }) }, "Remove"));
}

function invite() {
  byId("qr-code").src = `/api/classroom/qr.svg?${Date.now()}`; // each lesson has another one
  byId("copy-link").textContent = "Copy link";
  byId("invite-dialog").showModal();
  refreshOverview();
}

/** Copy the link without the Clipboard API, which needs https. */
function copyLink() {
  getSelection().selectAllChildren(byId("invite-link"));
  byId("copy-link").textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl-C";
}

export function startClass() {
  onClick({
    invite, "copy-link": copyLink, "end-lesson": () => byId("end-dialog").showModal(),
    pause: () => setRules({ paused: !getState().classroom.paused }),
    "end-now": () => change("/end", {}).then(() => byId("end-dialog").close()),
  });
  byId("may-add").addEventListener("change", ({ target }) => setRules({ may_add: target.checked }));
  byId("task-class").addEventListener("change", ({ target }) => setRules({ task: target.value || null }));
  addEventListener("hashchange", refreshOverview);
  setInterval(refreshOverview, POLL);
  subscribe(render);
}
