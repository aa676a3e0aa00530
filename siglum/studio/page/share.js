// The Share view: save the recogniser, a report and the drawings, and open what others sent.

import { post, upload } from "./api.js";
import { byId, h, isolate, onClick, serverText, signName } from "./dom.js";
import { count } from "./format.js";
import { toast } from "./history.js";
import { drawingCount, setState, subscribe } from "./store.js";

const GRACE = 1000; // ms that the server has to stop by itself, before the upload is cut off
const MAX_NAMES = 12;

let uploading = new AbortController();

/** Ask the server to stop, which then imports nothing; then stop sending. */
function cancel() {
  const stop = () => post("/api/import/cancel").catch(() => {});
  const current = uploading;
  stop();
  setTimeout(() => {
    current.abort();
    if (!byId("cancel").hidden) stop(); // the rest may have arrived meanwhile
  }, GRACE);
}

/** Open recognisers or zips of drawings, one after the other. */
export async function openFiles(files) {
  location.hash = "#share";
  byId("opened").replaceChildren();
  byId("cancel").hidden = false;
  for (const file of files) {
    const status = h("div", {}, `Opening ${isolate(file.name)}…`);
    byId("opened").append(status);
    uploading = new AbortController();
    try {
      const options = { type: "application/octet-stream", abort: uploading.signal };
      const answer = await upload("/api/import", file, options);
      setState(answer.state);
      status.replaceChildren(h("ul", {}, answer.messages.map((line) => h("li", {}, serverText(line)))));
      toast(`Imported ${count(answer.added, "drawing")}.`, { undo: answer.added + answer.classes_added > 0 });
    } catch (error) {
      status.className = "error";
      status.replaceChildren(serverText(`${isolate(file.name)}: ${error.message}`));
    }
  }
  byId("cancel").hidden = true;
}

function render({ classes, title }) {
  const names = classes.slice(0, MAX_NAMES).flatMap(({ name }) => [" ", signName(name)]);
  const list = classes.length ? [":", ...names, classes.length > MAX_NAMES ? " …" : ""] : ["."];
  const summary = ` has ${count(classes.length, "sign")} and ${count(drawingCount(), "drawing")}`;
  byId("summary").replaceChildren(h("bdi", {}, title), summary, ...list);
}

export function startShare() {
  byId("open").addEventListener("change", ({ target }) => {
    openFiles([...target.files]);
    target.value = "";
  });
  onClick({ cancel });
  subscribe(render);
}
