// What the tests have a page do besides: drawing by events, and waiting for an answer.

/** Draw strokes of [x, y] in [0, 1] by a pointer's events; `open` leaves the last one unfinished. */
window.drawn = (selector, strokes, { pointerType = "pen", pointerId = 7, pressure = 0.6, open = false }) => {
  const pad = document.querySelector(selector);
  pad.scrollIntoView({ block: "center" });
  const box = pad.getBoundingClientRect();
  const tell = (type, [x, y], buttons) => {
    const at = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
    const more = { bubbles: true, cancelable: true, isPrimary: true, button: type === "pointermove" ? -1 : 0 };
    pad.dispatchEvent(new PointerEvent(type, { ...at, ...more, buttons, pointerType, pointerId, pressure }));
  };
  for (const stroke of strokes) {
    tell("pointerdown", stroke[0], 1);
    for (const point of stroke.slice(1)) tell("pointermove", point, 1);
    if (!open || stroke !== strokes.at(-1)) tell("pointerup", stroke.at(-1), 0);
  }
};

/** Wait until no question about a drawing is under way. */
window.answered = async () => {
  const open = () => window.asking > 0;
  const rest = (ms) => new Promise((wake) => setTimeout(wake, ms));
  do await rest(30);
  while (open());
  await rest(0);
};

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
