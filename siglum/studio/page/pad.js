// A drawing pad for mouse, pen, finger and arrow keys, with undo and redo of strokes.

import { h } from "./dom.js";

const MAX_POINTS = 10_000; // of a drawing, as the server accepts them
const MAX_STROKES = 1000;
const PEN_WIDTH = 1 / 40; // of the pad's longer side, at medium pressure
const [LIGHT, HEAVY] = [0.75, 1.25]; // of that width, at no and at full pressure
const REACH = 1.9; // a captured pen is followed so far beyond the pad, in its sides
const PALM = 1000; // ms after a pen's last event in which a touch is the palm of the hand
const STEP = 1 / 40; // of the pad, for an arrow key; with Shift a quarter of it
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const round = (value, digits) => Number(value.toFixed(digits));
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Draw a stroke of [x, y, t, pressure] on a context of width x height pixels. */
export function drawStroke(context, stroke, width, height) {
  const medium = PEN_WIDTH * Math.max(width, height);
  const widthAt = (pressure) => medium * (LIGHT + (HEAVY - LIGHT) * pressure);
  const points = stroke.map(([x, y, , pressure]) => ({ x: x * width, y: y * height, width: widthAt(pressure) }));
  const [first] = points;
  context.beginPath();
  context.arc(first.x, first.y, first.width / 2, 0, 2 * Math.PI);
  context.fill();
  context.lineCap = context.lineJoin = "round";
  // Curves between the midpoints look smooth however few points a browser reports.
  let from = first;
  for (let index = 1; index < points.length; index++) {
    const [point, next] = [points[index], points[index + 1]];
    const to = next ? { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 } : point;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.quadraticCurveTo(point.x, point.y, to.x, to.y);
    context.lineWidth = (points[index - 1].width + point.width) / 2;
    context.stroke();
    from = to;
  }
}

function describePosition([x, y]) {
  const third = (value) => Math.min(2, Math.floor(3 * value));
  const words = [["top", "", "bottom"][third(y)], ["left", "", "right"][third(x)]];
  return words.join(" ").trim() || "middle";
}

/**
 * Turn a canvas into a pad. `onstart()` is called before a stroke begins, `onchange()` after every point
 * and change; `announce(text)` is for screen readers.
 */
export function createPad(canvas, { onstart = () => {}, onchange = () => {}, announce }) {
  let strokes = []; // never mutated: `past` and `future` share it
  let past = [];
  let future = [];
  let live = null; // {pointer, type, points} while the pen is down
  let startTime = null; // ms
  let cursor = null; // [x, y] of the pen that the arrow keys move
  let lastPenTime = -Infinity;
  let lastPointTime = 0;
  let frame = 0;
  const heldKeys = new Set();
  const cursorMark = h("span", { class: "pad-cursor", "aria-hidden": "true", hidden: true }, "+");
  const allStrokes = () => (live ? [...strokes, live.points] : strokes);

  function repaint() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      const { width, height } = canvas.getBoundingClientRect();
      const size = [width, height].map((length) => Math.round(length * devicePixelRatio));
      if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, ...size);
      context.strokeStyle = context.fillStyle = getComputedStyle(canvas).color;
      for (const stroke of allStrokes()) if (stroke.length) drawStroke(context, stroke, ...size);
    });
  }

  function update() {
    repaint();
    onchange();
  }

  function change(next) {
    past.push(strokes);
    [strokes, future] = [next, []];
    update();
  }

  function travel(from, to) {
    if (live) return dropStroke();
    if (!from.length) return;
    to.push(strokes);
    strokes = from.pop();
    update();
  }

  function addPoint(x, y, time, pressure) {
    lastPointTime = time;
    if (!live.points.length) {
      const previous = strokes.at(-1)?.at(-1)[2];
      if (previous === undefined) startTime = time;
      else startTime ??= time - previous - 500; // a drawing that is continued
    }
    const [across, down] = [x, y].map((value) => round(clamp(value, 1 - REACH, REACH), 5));
    const last = live.points.at(-1);
    if (last && last[0] === across && last[1] === down) return;
    if (allStrokes().flat().length >= MAX_POINTS) return announce("This drawing is full. Save it or clear it.");
    live.points.push([across, down, Math.max(0, Math.round(time - startTime)), round(pressure, 3)]);
  }

  function startStroke(pointer, type) {
    onstart();
    if (strokes.length < MAX_STROKES) live = { pointer, type, points: [] };
  }

  function dropStroke() {
    live = null;
    update();
  }

  function endStroke() {
    const { points } = live;
    if (!points.length) return dropStroke();
    live = null;
    change([...strokes, points]);
  }

  function addPointerEvent(event) {
    const box = canvas.getBoundingClientRect();
    const coalesced = event.getCoalescedEvents?.() ?? [];
    for (const each of coalesced.length ? coalesced : [event]) {
      const pressure = each.pointerType === "pen" && each.pressure > 0 ? each.pressure : 0.5;
      const [x, y] = [(each.clientX - box.left) / box.width, (each.clientY - box.top) / box.height];
      addPoint(x, y, each.timeStamp || event.timeStamp, pressure);
    }
    update();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || (event.pointerType === "mouse" && event.ctrlKey)) return;
    const isPen = event.pointerType === "pen";
    if (isPen) lastPenTime = event.timeStamp;
    if (live && !(isPen && live.type === "touch")) return; // a second finger, or the palm
    if (event.pointerType === "touch" && event.timeStamp - lastPenTime < PALM) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true, focusVisible: false });
    setCursor(null);
    startStroke(event.pointerId, event.pointerType);
    if (!live) return;
    try {
      canvas.setPointerCapture(event.pointerId);
    } catch {
      // A synthetic event has no pointer to capture.
    }
    addPointerEvent(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "pen") lastPenTime = event.timeStamp;
    if (live?.pointer === event.pointerId) addPointerEvent(event);
  });
  for (const type of ["pointerup", "pointercancel"]) {
    // On the window: without capture the pen may be lifted anywhere.
    window.addEventListener(type, (event) => {
      if (live?.pointer === event.pointerId) endStroke();
    });
  }
  // Without this, iPads drop short strokes and scroll the page although touch-action is none.
  canvas.addEventListener("touchmove", (event) => event.preventDefault(), { passive: false });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  function setCursor(position) {
    cursor = position;
    cursorMark.hidden = !cursor;
    if (cursor) [cursorMark.style.left, cursorMark.style.top] = cursor.map((share) => `${100 * share}%`);
  }

  function moveCursor(step) {
    const position = [...cursor];
    for (const key of heldKeys) {
      ARROWS[key].forEach((direction, axis) => (position[axis] = clamp(position[axis] + step * direction, 0, 1)));
    }
    const reachesEdge = position.some((value, axis) => value % 1 === 0 && value !== cursor[axis]);
    setCursor(position);
    if (reachesEdge) announce(`At the edge, ${describePosition(cursor)}.`);
  }

  function togglePen(time) {
    const isDown = live?.pointer === "keys";
    if (isDown) endStroke();
    else {
      if (!live) startStroke("keys", "keys");
      if (live?.pointer !== "keys") return;
      addPoint(...cursor, time, 0.5);
      update();
    }
    announce(`Pen ${isDown ? "up" : "down"}, ${describePosition(cursor)}.`);
  }

  canvas.addEventListener("keydown", (event) => {
    const isArrow = event.key in ARROWS;
    if (event.ctrlKey || event.metaKey || event.altKey || (!isArrow && event.key !== " ")) return;
    event.preventDefault();
    setCursor(cursor ?? [0.5, 0.5]);
    if (!isArrow) return event.repeat || togglePen(event.timeStamp);
    heldKeys.add(event.key);
    moveCursor(event.shiftKey ? STEP / 4 : STEP);
    if (live?.pointer !== "keys") return;
    addPoint(...cursor, event.timeStamp, 0.5);
    update();
  });
  canvas.addEventListener("keyup", (event) => heldKeys.delete(event.key));
  canvas.addEventListener("blur", () => {
    heldKeys.clear();
    if (live?.pointer === "keys") endStroke();
    setCursor(null);
  });
  canvas.after(cursorMark);

  new ResizeObserver(repaint).observe(canvas);

  return {
    /** The drawing in the server's format, with the stroke in progress. */
    drawing() {
      const { width, height } = canvas.getBoundingClientRect();
      return { version: 1, aspect: height ? round(width / height, 2) : 1, strokes: allStrokes() };
    },
    isEmpty: () => !allStrokes().length,
    isDrawing: () => live !== null,
    lastPointTime: () => lastPointTime,
    canUndo: () => past.length > 0 || live !== null,
    canRedo: () => future.length > 0,
    undo: () => travel(past, future),
    redo: () => travel(future, past),
    clear() {
      if (live) dropStroke();
      if (strokes.length) change([]);
    },
    /** Start over with these strokes, and without history. */
    reset(initial = []) {
      [past, future, live, strokes, startTime] = [[], [], null, initial, null];
      update();
    },
    repaint,
  };
}
