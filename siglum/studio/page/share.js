// The Share view: save the recogniser, a report and the drawings, and open what others sent.

import { post, upload } from "./api.js";
import { byId, count, h, isolate, onClick, serverText } from "./dom.js";
import { toast } from "./history.js";
import { setState } from "./store.js";

/** Open recognisers or zips of drawings, one after the other. */
export async function openFiles(files) {
  location.hash = "#share";
  byId("opened").replaceChildren();
  byId("cancel").hidden = false;
  for (const file of files) {
    const status = h("div", {}, `Opening ${isolate(file.name)}…`);
    byId("opened").append(status);
    try {
      const answer = await upload("/api/import", file, "application/octet-stream");
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

export function startShare() {
  byId("open").addEventListener("change", ({ target }) => {
    openFiles([...target.files]);
    target.value = "";
  });
  onClick({ cancel: () => post("/api/import/cancel").catch(() => {}) });
}
