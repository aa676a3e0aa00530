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
  const start = performance.now();
  for (const stroke of strokes) {
    send("pointerdown", stroke[0], 1);
    for (const point of stroke.slice(1)) {
      // The page asks at the first point: the newest one is later than what `predicted` tolerates.
      while (stroke === strokes.at(-1) && point === stroke.at(-1) && performance.now() < start + 2);
      send("pointermove", point, 1);
    }
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

/** A page of signs, dark on pale paper, given as rows of drawings of strokes of [x, y] in [0, 1]. */
const photograph = (rows) => {
  const side = 240; // px of a sign
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [side * Math.max(...rows.map((row) => row.length)), side * rows.length];
  const context = canvas.getContext("2d");
  context.fillStyle = "rgb(228 222 208)";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.strokeStyle = "rgb(50 50 70)";
  context.lineWidth = side / 40;
  context.lineCap = context.lineJoin = "round";
  rows.forEach((row, down) => row.forEach((strokes, right) => strokes.forEach((stroke) => {
    context.beginPath();
    for (const [x, y] of stroke) context.lineTo(side * (right + x), side * (down + y));
    context.stroke();
  })));
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
};

/** Drop or paste files by name: pictures, given as rows of drawings, or text. */
window.give = async (kind, files) => {
  const data = new DataTransfer();
  for (const [name, content] of Object.entries(files)) {
    const isText = typeof content === "string";
    const type = name.endsWith(".siglum") ? "" : `image/${name.split(".").at(-1)}`;
    data.items.add(new File([isText ? content : await photograph(content)], name, { type }));
  }
  const options = { bubbles: true, cancelable: true };
  const event = kind === "drop"
    ? new DragEvent("drop", { dataTransfer: data, ...options })
    : new ClipboardEvent("paste", { clipboardData: data, ...options });
  document.body.dispatchEvent(event);
};

/** Whether there is ink at [x, y] of the pad, each in [0, 1]. */
window.hasInk = ([x, y], selector = "#pad") => new Promise((resolve) => requestAnimationFrame(() => {
  const pad = document.querySelector(selector);
  const position = [Math.round(x * pad.width), Math.round(y * pad.height)];
  resolve(pad.getContext("2d").getImageData(...position, 1, 1).data[3] === 255);
}));

/** How many pixels of the network's input are dark, and how many are red. */
window.networkInput = () => {
  const { data } = document.querySelector("#ink").getContext("2d").getImageData(0, 0, 32, 32);
  const pixels = Array.from({ length: 1024 }, (_, index) => data.slice(4 * index, 4 * index + 3));
  const isDark = ([red]) => red < 60;
  const isRed = ([red, , blue]) => red - blue > 60;
  return { dark: pixels.filter(isDark).length, red: pixels.filter(isRed).length };
};

/** Whether a page keeps a finger on an element from scrolling it. */
window.preventsScrolling = (selector) =>
  !document.querySelector(selector).dispatchEvent(new Event("touchmove", { bubbles: true, cancelable: true }));

window.asking = 0;
window.requests = []; // when which address was asked for
const originalFetch = window.fetch;
window.fetch = async (path, ...rest) => {
  const isPrediction = ["/api/predict", "/api/find"].includes(path);
  window.requests.push([performance.now(), path]);
  if (isPrediction) window.asking += 1;
  try {
    return await originalFetch(path, ...rest);
  } finally {
    // Later, so that the page has shown the prediction first.
    if (isPrediction) setTimeout(() => (window.asking -= 1), 20);
  }
};
