// The camera: what is in its frame is read again and again in the place of a photo, until it is kept as one.

import { connectionProblem } from "./api.js";
import { attempt, byId, onClick, setEnabled, showError } from "./dom.js";
import { closePhoto, isLive, openPictures, paint, readFrame, showFrame } from "./photo.js";

const CAMERA = { video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 960 } } };
const FRAME = 0.7; // side of the square that is read, as a share of the picture's shorter side; as in the style sheet
const SIDE = 480; // px, of that square as it is sent
const MIN_REST = 30; // ms between two pictures; else half of what the last one took, for other pages
const REMEDIES = {
  NotAllowedError: "The browser blocks the camera. Allow it beside the page's address, then press Camera again.",
  NotFoundError: "No camera found. Connect one and press Camera again, or open a photo.",
  NotReadableError: "Another program uses the camera. Close it, then press Camera again.",
};
const UNAVAILABLE = "Browsers allow the camera on the Studio's own computer and over https only. Open a photo instead.";

const video = byId("camera-image");
let stream = null;

/** The square in the frame as a file, at most `side` px wide. */
function grab(side) {
  const { videoWidth: width, videoHeight: height } = video;
  const part = Math.round(FRAME * Math.min(width, height));
  const target = Math.min(side, part);
  return paint([target, target], "image/jpeg", (context) =>
    context.drawImage(video, (width - part) / 2, (height - part) / 2, part, part, 0, 0, target, target));
}

/** Switch the camera off; the last picture stays. */
export function stopCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  byId("camera").setAttribute("aria-pressed", "false");
}

const leave = () => (isLive() ? closePhoto() : stopCamera()); // and show the pad

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

async function readPictures() {
  const current = stream;
  showFrame({ bitmap: video, width: 1, height: 1, signs: [] });
  byId("keep").focus();
  while (stream === current) {
    const begin = performance.now();
    const frame = !connectionProblem() && (await readFrame(await grab(SIDE)).catch(() => null));
    if (frame && stream === current) showFrame(frame);
    await new Promise((resolve) => setTimeout(resolve, Math.max(MIN_REST, (performance.now() - begin) / 2)));
  }
}

/** Keep what is in the frame, in all its pixels, as a photo. */
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
  video.addEventListener("loadeddata", () => stream && readPictures());
  addEventListener("keydown", ({ key }) => key === "Escape" && leave());
  addEventListener("hashchange", () => (["#find", "#teach"].includes(location.hash) ? keep() : leave()));
  document.addEventListener("visibilitychange", () => document.hidden && leave());
}
