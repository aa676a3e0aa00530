// The page on which a pupil enters a name, before the Studio's.

import { post } from "./api.js";
import { byId, onSubmit } from "./dom.js";

onSubmit("join", "join-error", async () => {
  await post("/api/classroom/join", { name: byId("join-name").value });
  location.reload();
});
Object.assign(byId("join-name"), { disabled: false }).focus(); // sent before this script ran, a form goes nowhere
