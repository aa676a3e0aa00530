// What the tests have a page do besides: drawing by events, and waiting for an answer.

/** Draw strokes of [x, y] in [0, 1] by a pointer's events; `open` leaves the last one unfinished. */
window.drawn = (selector, strokes, { pointerType = "pen", pointerId = 7, pressure = 0.6, open = false }) => {
  const pad = document.querySelector(selector);
  pad.scrollIntoView({ block: "center" });
  const box = pad.getBoundingClientRect();
  const tell = (type, [x, y], buttons) => {
    const at = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
    const more = { bubbles: true, cancelable: true, isPrimary: true, button: type === "pointermove" ? -1 : 0 };
    const event = new PointerEvent(type, { ...at, ...more, buttons, pointerType, pointerId, pressure });
    pad.dispatchEvent(event);
    if (type !== "pointerup") window.newest = event.timeStamp;
  };
  for (const stroke of strokes) {
    tell("pointerdown", stroke[0], 1);
    for (const point of stroke.slice(1)) tell("pointermove", point, 1);
    if (!open || stroke !== strokes.at(-1)) tell("pointerup", stroke.at(-1), 0);
  }
};

/** Wait until the newest point is answered, and no other question is under way. */
window.answered = async () => {
  const answers = () => performance.getEntriesByName("answer");
  const open = () => window.asking > 0 || answers().every(({ startTime }) => startTime < window.newest - 1);
  while (open()) await new Promise((wake) => setTimeout(wake, 10));
};

/** How many drawings each sign is said to have. */
window.known = () =>
  [...document.querySelectorAll("#signs .known")].map((one) => one.textContent).join();

/** How many drawings the sheet shows of each sign. */
window.rows = () =>
  [...document.querySelectorAll("#sheet > li")]
    .map((row) => row.querySelectorAll("[role=option]").length)
    .join();

window.asking = 0;
const ask = window.fetch;
window.fetch = async (path, ...rest) => {
  const counted = path === "/api/recognise";
  if (counted) window.asking += 1;
  try {
    return await ask(path, ...rest);
  } finally {
    // Later, so that the page has shown the answer first.
    if (counted) setTimeout(() => (window.asking -= 1), 20);
  }
};
