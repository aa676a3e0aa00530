// Helpers in the page for the tests: drawing with events, and waiting for predictions.

/** Draw strokes of [x, y] in [0, 1] with pointer events; `open` leaves the last one unfinished. */
window.draw = (selector, strokes, { pointerType = "pen", pointerId = 7, pressure = 0.6, open = false, scroll = true }) => {
  const pad = document.querySelector(selector);
  if (scroll) pad.scrollIntoView({ block: "center" });
  const box = pad.getBoundingClientRect();
  const send = (type, [x, y], buttons) => {
    const position = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
    const details = { bubbles: true, cancelable: true, isPrimary: true, button: type === "pointermove" ? -1 : 0 };
    const event = new PointerEvent(type, { ...position, ...details, buttons, pointerType, pointerId, pressure });
    pad.dispatchEvent(event);
    if (type !== "pointerup") window.newest = event.timeStamp;
  };
  for (const stroke of strokes) {
    send("pointerdown", stroke[0], 1);
    for (const point of stroke.slice(1)) send("pointermove", point, 1);
    if (!open || stroke !== strokes.at(-1)) send("pointerup", stroke.at(-1), 0);
  }
};

/** Wait until the newest point has a prediction, and no other request is under way. */
window.predicted = async () => {
  const measures = () => performance.getEntriesByName("answer");
  const isOpen = () => window.asking > 0 || measures().every(({ startTime }) => startTime < window.newest - 1);
  while (isOpen()) await new Promise((resolve) => setTimeout(resolve, 10));
};

/** The state of each sign on its card, such as "2 drawings". */
window.statuses = () => [...document.querySelectorAll("#signs .status")].map((one) => one.textContent).join();

/** How many drawings the Review view shows of each sign. */
window.rows = () =>
  [...document.querySelectorAll("#sheet > li")]
    .map((row) => row.querySelectorAll("[data-drawing]").length)
    .join();

/** Drop or paste files, given as [name, type, base64]. */
window.give = (kind, files) => {
  const data = new DataTransfer();
  for (const [name, type, text] of files) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  const options = { bubbles: true, cancelable: true };
  const event = kind === "drop"
    ? new DragEvent("drop", { dataTransfer: data, ...options })
    : new ClipboardEvent("paste", { clipboardData: data, ...options });
  document.body.dispatchEvent(event);
};

window.asking = 0;
window.requests = []; // when which address was asked for
const originalFetch = window.fetch;
window.fetch = async (path, ...rest) => {
  const isPrediction = path === "/api/predict";
  window.requests.push([performance.now(), path]);
  if (isPrediction) window.asking += 1;
  try {
    return await originalFetch(path, ...rest);
  } finally {
    // Later, so that the page has shown the prediction first.
    if (isPrediction) setTimeout(() => (window.asking -= 1), 20);
  }
};
