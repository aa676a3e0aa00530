// Take it with you: the bundle, a report, the samples; and open what somebody sent.

import { byId, make, said, sign } from "./dom.js";
import { ask, send } from "./server.js";
import { change, onState, take } from "./state.js";
import { count } from "./words.js";

const LONG = 1000; // ms after which a file that is still coming is stopped by not sending the rest

let stopping = new AbortController();

function offer(title, words, ...actions) {
  return make("section", { class: "card offer" }, make("h2", {}, title), make("p", {}, words), ...actions);
}

const link = (href, text) => make("a", { class: "button", href, download: true }, text);

function build() {
  const file = make("input", { id: "open", type: "file", class: "unseen", accept: ".siglum,.zip" });
  file.addEventListener("change", () => {
    const [chosen] = file.files;
    file.value = "";
    if (chosen) openFile(chosen);
  });
  byId("view-take").replaceChildren(
    make("h1", { id: "take-title" }, "Take it with you"),
    make("p", { id: "have", class: "finding" }),
    make("div", { class: "offers" },
      offer("The recogniser", "One file that reads your signs on any computer with Siglum. It holds no code.",
        link("/api/bundle", "Save the recogniser"),
        make("pre", {}, "siglum predict my-signs.siglum photo.png")),
      offer("A report", "A page that says what was taught, how well it reads, and how sure that is.",
        link("/api/report", "Save the report")),
      offer("The drawings", "All of them as a plain folder, zipped: a picture and the strokes of each.",
        link("/api/samples.zip", "Save the drawings")),
      offer("From somebody else", "A recogniser with its drawings, or drawings in a zip. It is checked, and nothing in it is run.",
        make("label", { class: "button" }, "Open a file…", file),
        make("button", { id: "cancel", type: "button", hidden: true }, "Cancel"),
        make("div", { id: "opened", role: "status" }))));
  byId("cancel").addEventListener("click", cancel);
}

/** Have the server stop, which says what it took until then; or stop sending, where it has not all. */
function cancel() {
  const stop = () => ask("/api/cancel").catch(() => {});
  const mine = stopping;
  stop();
  setTimeout(() => {
    mine.abort();
    if (!byId("cancel").hidden) stop(); // the rest may have come meanwhile
  }, LONG);
}

/** What was done with a file, and a way to take its drawings back. */
function outcome(lines, samples) {
  const undo = make("button", { type: "button" }, "Take them back");
  undo.addEventListener("click", async () => {
    undo.remove();
    try {
      await change("/api/samples/delete", { samples });
      byId("opened").replaceChildren("Its drawings are removed. Undo brings them back.");
    } catch (error) {
      byId("opened").append(said(error.message));
    }
  });
  return [make("ul", {}, lines.map((line) => make("li", {}, said(line)))), ...(samples.length ? [undo] : [])];
}

/** Open a bundle or a zip of samples. */
export async function openFile(file) {
  location.hash = "#take";
  const box = byId("opened");
  box.className = "";
  box.replaceChildren("Opening ", make("bdi", {}, file.name), "…");
  byId("cancel").hidden = false;
  try {
    stopping = new AbortController();
    const { state, said: lines, samples } = await send("/api/open", file, "application/octet-stream", stopping.signal);
    take(state);
    box.replaceChildren(...outcome(lines, samples));
  } catch (error) {
    box.className = "said";
    box.replaceChildren(said(error.message));
  }
  byId("cancel").hidden = true;
}

function render({ classes, title }) {
  const total = classes.reduce((sum, one) => sum + one.taught + one.quiz, 0);
  const names = classes.slice(0, 12).flatMap(({ name }) => [" ", sign(name)]);
  byId("have").replaceChildren(
    make("bdi", {}, title), ` has ${count(classes.length, "sign")} and ${count(total, "drawing")}`,
    ...(classes.length ? [":", ...names, classes.length > 12 ? " …" : ""] : ["."]));
}

export function startTake() {
  build();
  onState(render);
}
