// The camera: its pictures are read one after the other in the place of a photo, until one is kept as a photo.

import { connectionProblem } from "./api.js";
import { attempt, byId, onClick, setEnabled, showError } from "./dom.js";
import { closePhoto, isLive, openPictures, paint, readFrame, showFrame } from "./photo.js";

const CAMERA = { video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 960 } } };
const FRAME = 640; // px, the longer side of a picture that is read
const MIN_REST = 30; // ms between two pictures; else as long as the last one took, for other pages
const REMEDIES = {
  NotAllowedError: "The browser blocks the camera. Allow it beside the page's address, then press Camera again.",
  NotFoundError: "No camera found. Connect one and press Camera again, or open a photo.",
  NotReadableError: "Another program uses the camera. Close it, then press Camera again.",
};
const UNAVAILABLE = "Browsers allow the camera on the Studio's own computer and over https only. Open a photo instead.";

const video = byId("camera-image");
let stream = null;

/** The present picture as a file, its longer side at most `side` px long. */
function grab(side) {
  const { videoWidth: width, videoHeight: height } = video;
  const size = [width, height].map((length) => Math.round(length * Math.min(1, side / Math.max(width, height))));
  return paint(size, "image/jpeg", (context) => context.drawImage(video, 0, 0, ...size));
}

/** Switch the camera off; the last picture stays. */
export function stopCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  byId("camera").setAttribute("aria-pressed", "false");
}

/** The same, and back to the pad. */
const leave = () => (isLive() ? closePhoto() : stopCamera());

async function start() {
  if (!navigator.mediaDevices) throw new Error(UNAVAILABLE);
  const next = await navigator.mediaDevices.getUserMedia(CAMERA).catch(({ name, message }) => {
    throw new Error(REMEDIES[name] ?? `The camera does not start: ${message}. Open a photo instead.`);
  });
  stopCamera(); // of an earlier press
  stream = next;
  if (document.hidden || !byId("camera").checkVisibility()) return stopCamera();
  const [track] = stream.getVideoTracks();
  track.onended = () => {
    leave();
    showError("bench-error", new Error(REMEDIES.NotFoundError));
  };
  video.parentElement.toggleAttribute("data-mirrored", track.getSettings().facingMode === "user");
  byId("camera").setAttribute("aria-pressed", "true");
  video.srcObject = stream;
}

/** Read picture after picture while the camera is on. */
async function run() {
  const current = stream;
  showFrame({ bitmap: video, width: video.videoWidth, height: video.videoHeight, signs: [] });
  byId("keep").focus();
  while (stream === current) {
    const begin = performance.now();
    const frame = !connectionProblem() && (await readFrame(await grab(FRAME)).catch(() => null));
    if (frame && stream === current) showFrame(frame);
    await new Promise((resolve) => setTimeout(resolve, Math.max(MIN_REST, performance.now() - begin)));
  }
}

/** Keep the present picture, in all its pixels, as a photo. */
async function keep() {
  if (!isLive()) return stopCamera();
  const picture = grab(Infinity);
  stopCamera();
  await openPictures([new File([await picture], "camera.jpg", { type: "image/jpeg" })]);
}

export function startCamera() {
  if (!navigator.mediaDevices) byId("camera").title = UNAVAILABLE;
  setEnabled(byId("camera"), Boolean(navigator.mediaDevices));
  onClick({ camera: () => (stream ? leave() : attempt("bench-error", start)), keep, "camera-image": keep });
  video.addEventListener("loadeddata", () => stream && run());
  addEventListener("keydown", ({ key }) => key === "Escape" && leave());
  addEventListener("hashchange", () => (["#find", "#teach"].includes(location.hash) ? keep() : leave()));
  document.addEventListener("visibilitychange", () => document.hidden && leave());
}
