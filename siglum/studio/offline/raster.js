// Rasterise strokes as siglum/images/strokes.py and Pillow do: light ink on black.

const SIZE = 256; // px of the longer side
const WIDTH = 1 / 40; // of a line at medium pressure, in longer sides of the pad
const [LIGHT, HARD] = [0.75, 1.25]; // of that width, at no and at full pressure
const SCALE = 4; // lines are drawn so much larger, then averaged

const roundUp = (value) => Math.sign(value) * Math.floor(Math.abs(value) + 0.5); // halves away from 0
const roundDown = (value) => Math.sign(value) * Math.ceil(Math.abs(value) - 0.5); // halves towards 0

/** Round halves to even, as Python's round() does. */
export function roundEven(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

/** Return the grey pixels of a drawing {aspect, strokes of [x, y, time, pressure]} in rows. */
export function rasterise({ aspect, strokes }) {
  const sides = [Math.min(aspect, 1), Math.min(1 / aspect, 1)];
  const [width, height] = sides.map((side) => Math.max(1, roundEven(SIZE * side)));
  const canvas = { width: SCALE * width, height: SCALE * height, pixels: new Uint8Array(SCALE * width * SCALE * height) };
  for (const stroke of strokes) {
    const widths = stroke.map(([, , , pressure]) => Math.max(SCALE, (LIGHT + (HARD - LIGHT) * pressure) * WIDTH * SIZE * SCALE));
    const points = stroke.map((point) => sides.map((side, axis) => point[axis] * side * SIZE * SCALE));
    points.forEach(([x, y], index) => fillDisc(canvas, x, y, widths[index] / 2));
    for (let index = 1; index < points.length; index++) {
      drawLine(canvas, points[index - 1], points[index], roundEven((widths[index - 1] + widths[index]) / 2));
    }
  }
  return { width, height, pixels: average(canvas, width, height) };
}

/** Fill the row `y` from `first` to `last`, both included. */
function fillRow({ width, height, pixels }, y, first, last) {
  if (y < 0 || y >= height || last < 0 || first >= width || last < first) return;
  pixels.fill(255, y * width + Math.max(first, 0), y * width + Math.min(last, width - 1) + 1);
}

/**
 * Fill the ellipse in a box of whole pixels. The outline is walked in doubled coordinates from its right end
 * to its top, each step to the neighbour that is nearest to the curve; the first point of a row ends that row.
 */
function fillDisc(canvas, centreX, centreY, radius) {
  const [x0, y0, x1, y1] = [centreX - radius, centreY - radius, centreX + radius, centreY + radius].map(Math.trunc);
  const [a, b] = [x1 - x0, y1 - y0];
  const distance = ([x, y]) => Math.abs(a * a * y * y + b * b * x * x - a * a * b * b);
  let point = [a, b % 2];
  for (let row = -1; point[1] <= b; ) {
    const [x, y] = point;
    if (y > row) for (const side of [-y, y]) fillRow(canvas, (y0 + y1 + side) / 2, (x0 + x1 - x) / 2, (x0 + x1 + x) / 2);
    row = y;
    if (y === b && x <= 1) break;
    const next = x > 1 ? [[x, y + 2], [x - 2, y + 2], [x - 2, y]] : [[x, y + 2]];
    point = next.reduce((best, other) => (distance(other) < distance(best) ? other : best));
  }
}

/** Fill the four-sided shape of a line without caps. */
function drawLine(canvas, from, to, width) {
  const [x0, y0, x1, y1] = [...from, ...to].map(Math.trunc);
  const [dx, dy] = [x1 - x0, y1 - y0];
  if (!dx && !dy) return fillRow(canvas, y0, x0, x0);
  const half = (width - 1) / 2;
  const [far, near] = [roundUp(half), roundDown(half)].map((reach) => reach / Math.hypot(dx, dy));
  const offset = (share, length) => roundDown(share * length);
  const corners = [
    [x0 - offset(near, dy), y0 + offset(far, dx)], [x1 - offset(near, dy), y1 + offset(far, dx)],
    [x1 + offset(far, dy), y1 - offset(near, dx)], [x0 + offset(far, dy), y0 - offset(near, dx)],
  ];
  const rows = corners.map(([, y]) => y);
  for (let y = Math.min(...rows); y <= Math.max(...rows); y++) {
    let [first, last] = [Infinity, -Infinity];
    corners.forEach(([x, top], index) => {
      const [otherX, bottom] = corners[(index + 1) % 4];
      if (y < Math.min(top, bottom) || y > Math.max(top, bottom)) return;
      const ends = top === bottom ? [x, otherX] : [x + ((y - top) * (otherX - x)) / (bottom - top)];
      [first, last] = [Math.min(first, ...ends), Math.max(last, ...ends)];
    });
    fillRow(canvas, y, roundUp(first), roundDown(last));
  }
}

/** Average squares of SCALE x SCALE pixels, which are words of four bytes in four rows. */
function average(canvas, width, height) {
  const [pixels, words] = [new Uint8Array(width * height), new Uint32Array(canvas.pixels.buffer)];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let ink = 0; // pixels of the square, 255 each
      for (let word = SCALE * y * width + x; word < SCALE * (y + 1) * width + x; word += width) {
        for (let rest = words[word]; rest; rest >>>= 8) ink += rest & 255;
      }
      pixels[y * width + x] = (ink + SCALE ** 2 / 2) / SCALE ** 2;
    }
  }
  return pixels;
}
