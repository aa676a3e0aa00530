// A pad: what a mouse, a pen, a finger or the arrow keys draw on it, with undo and redo.

import { layStroke } from "./pen.js";

const MOST = 10000; // points of a drawing, as the server takes them
const MOST_STROKES = 1000;
const REACH = 1.9; // how far beyond the pad a captured pen is followed, in its sides
const PALM = 1000; // ms after a pen in which a touch is taken for the hand that holds it
const STEP = 1 / 40; // of the pad, for an arrow key; with Shift a quarter of it
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const rounded = (value, digits) => Number(value.toFixed(digits));
/** Where a point is, in words. */
function placeOf([x, y]) {
  const down = y < 1 / 3 ? "top" : y > 2 / 3 ? "bottom" : "";
  const across = x < 1 / 3 ? "left" : x > 2 / 3 ? "right" : "";
  return `${down} ${across}`.trim() || "middle";
}

const within = (value) => Math.min(REACH, Math.max(1 - REACH, value));

/**
 * Make a canvas a pad.
 *
 * `onchange()` is called for every point and for undo, redo and clear; `onlift(type)` when a stroke
 * of a "mouse", a "pen", a "touch" or the "keys" ends; `say(text)` is for who listens.
 */
export function createPad(canvas, { onchange, onlift, say = () => {} }) {
  let strokes = []; // never changed in place: what `past` and `future` hold stays as it was
  let past = [];
  let future = [];
  let live = null; // {pointer, type, points} while a pen is down
  let started = null; // ms, when the drawing began
  let picture = null; // {bitmap, ...} instead of strokes
  let cursor = null; // [x, y] of the pen that the arrow keys move
  let lastPen = -Infinity;
  let lastPoint = 0; // ms, of the newest point, by the clock of events
  const back = document.createElement("canvas"); // finished strokes
  const held = new Set();

  const size = () => [canvas.width, canvas.height];
  const all = () => (live ? [...strokes, live.points] : strokes);

  function pen(context) {
    context.strokeStyle = context.fillStyle = getComputedStyle(canvas).color;
    return context;
  }

  function repaint() {
    [back.width, back.height] = size();
    const context = pen(back.getContext("2d"));
    if (picture) {
      const { bitmap } = picture;
      const scale = Math.min(back.width / bitmap.width, back.height / bitmap.height);
      const [width, height] = [scale * bitmap.width, scale * bitmap.height];
      const [left, top] = [(back.width - width) / 2, (back.height - height) / 2];
      context.drawImage(bitmap, left, top, width, height);
    }
    for (const stroke of strokes) layStroke(context, stroke, ...size());
    frame();
  }

  let asked = 0;
  function frame() {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      const context = pen(canvas.getContext("2d"));
      context.clearRect(0, 0, ...size());
      if (back.width && back.height) context.drawImage(back, 0, 0);
      if (live?.points.length) layStroke(context, live.points, ...size());
      if (cursor) cross(context);
    });
  }

  function cross(context) {
    const [x, y] = [cursor[0] * canvas.width, cursor[1] * canvas.height];
    const arm = canvas.width / 32;
    context.lineWidth = canvas.width / 256;
    context.beginPath();
    for (const [right, down] of Object.values(ARROWS)) {
      context.moveTo(x + 0.4 * arm * right, y + 0.4 * arm * down);
      context.lineTo(x + arm * right, y + arm * down);
    }
    context.stroke();
  }

  function change(next) {
    past.push({ strokes, picture });
    future = [];
    ({ strokes, picture } = { strokes, picture, ...next });
    repaint();
    onchange();
  }

  function step(from, to) {
    if (live) return drop();
    if (!from.length) return;
    to.push({ strokes, picture });
    ({ strokes, picture } = from.pop());
    repaint();
    onchange();
  }

  function point(x, y, time, pressure) {
    lastPoint = time;
    if (!live.points.length) {
      const before = strokes.at(-1)?.at(-1)[2];
      if (before === undefined) started = time;
      else started ??= time - before - 500; // goes on with a drawing from before
    }
    const made = [
      rounded(within(x), 5),
      rounded(within(y), 5),
      Math.max(0, Math.round(time - started)),
      rounded(pressure, 3),
    ];
    const last = live.points.at(-1);
    if (last && last[0] === made[0] && last[1] === made[1]) return;
    if (all().reduce((sum, stroke) => sum + stroke.length, 0) >= MOST) {
      say(`A drawing has at most ${MOST.toLocaleString("en-GB")} points. Keep it, or clear it.`);
      return;
    }
    live.points.push(made);
  }

  function begin(pointer, type) {
    if (strokes.length >= MOST_STROKES) return;
    live = { pointer, type, points: [] };
  }

  function drop() {
    live = null;
    frame();
    onchange();
  }

  function lift() {
    const { points, type } = live;
    if (!points.length) return drop();
    live = null;
    change({ strokes: [...strokes, points], picture: null });
    onlift(type);
  }

  function take(event) {
    const box = canvas.getBoundingClientRect();
    const coalesced = event.getCoalescedEvents?.() ?? [];
    for (const each of coalesced.length ? coalesced : [event]) {
      const pressure = each.pointerType === "pen" && each.pressure > 0 ? each.pressure : 0.5;
      const x = (each.clientX - box.left) / box.width;
      const y = (each.clientY - box.top) / box.height;
      point(x, y, each.timeStamp || event.timeStamp, pressure);
    }
    frame();
    onchange();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || (event.pointerType === "mouse" && event.ctrlKey)) return;
    const isPen = event.pointerType === "pen";
    if (isPen) lastPen = event.timeStamp;
    if (live && !(isPen && live.type === "touch")) return; // a second finger, or the palm
    if (event.pointerType === "touch" && event.timeStamp - lastPen < PALM) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    cursor = null;
    begin(event.pointerId, event.pointerType);
    if (!live) return;
    try {
      canvas.setPointerCapture(event.pointerId);
    } catch {
      // An event that a program made has no pointer to capture.
    }
    take(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "pen") lastPen = event.timeStamp;
    if (live?.pointer === event.pointerId) take(event);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    // On the window: without capture the pen may be lifted anywhere. What was drawn stays.
    window.addEventListener(kind, (event) => {
      if (live?.pointer === event.pointerId) lift();
    });
  }
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) {
      event.preventDefault();
      held.add(event.key);
      cursor ??= [0.5, 0.5];
      const reach = event.shiftKey ? STEP / 4 : STEP;
      for (const key of held) {
        const [right, down] = ARROWS[key];
        [right, down].forEach((way, axis) => {
          const inside = cursor[axis] > 0 && cursor[axis] < 1;
          cursor[axis] = Math.min(1, Math.max(0, cursor[axis] + reach * way));
          if (inside && (cursor[axis] === 0 || cursor[axis] === 1)) say(`At the edge, ${placeOf(cursor)}.`);
        });
      }
      if (live?.pointer === "keys") {
        point(...cursor, event.timeStamp, 0.5);
        onchange();
      }
      frame();
    } else if (event.key === " ") {
      event.preventDefault();
      if (event.repeat) return;
      cursor ??= [0.5, 0.5];
      if (live?.pointer === "keys") {
        lift();
        say(`Pen up, ${placeOf(cursor)}.`);
      } else if (!live) {
        begin("keys", "keys");
        if (!live) return;
        point(...cursor, event.timeStamp, 0.5);
        say(`Pen down, ${placeOf(cursor)}.`);
        frame();
        onchange();
      }
    }
  });
  canvas.addEventListener("keyup", (event) => held.delete(event.key));
  canvas.addEventListener("blur", () => {
    held.clear();
    if (live?.pointer === "keys") lift();
    cursor = null;
    frame();
  });

  const sized = new ResizeObserver(([{ contentRect }]) => {
    canvas.width = Math.round(contentRect.width * devicePixelRatio);
    canvas.height = Math.round(contentRect.height * devicePixelRatio);
    repaint();
  });
  try {
    sized.observe(canvas, { box: "device-pixel-content-box" }); // also when the page is zoomed
  } catch {
    sized.observe(canvas);
  }

  return {
    /** The drawing as the server takes it, the stroke that is being drawn with it. */
    drawing() {
      const { width, height } = canvas.getBoundingClientRect();
      const aspect = height ? rounded(width / height, 2) : 1;
      return { version: 1, aspect, strokes: all() };
    },
    get empty() {
      return !all().length && !picture;
    },
    get picture() {
      return picture;
    },
    get drawingNow() {
      return live !== null;
    },
    get lastPoint() {
      return lastPoint;
    },
    get canUndo() {
      return past.length > 0 || live !== null;
    },
    get canRedo() {
      return future.length > 0;
    },
    undo: () => step(past, future),
    redo: () => step(future, past),
    clear() {
      if (live) drop();
      if (strokes.length || picture) change({ strokes: [], picture: null });
    },
    /** Put a picture in the place of what is there; undo brings that back. */
    show(shown) {
      if (live) lift();
      change({ strokes: [], picture: shown });
    },
    /** Begin anew, with strokes from before or nothing; there is no way back. */
    reset(given = []) {
      [past, future, live] = [[], [], null];
      [strokes, picture, started] = [given, null, null];
      repaint();
      onchange();
    },
    repaint,
  };
}
