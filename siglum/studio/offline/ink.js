// Frame the ink of a rasterised drawing as siglum/images/ink.py does; its paper is even, and nothing is printed on it.

import { roundEven } from "./raster.js";

const THIN = 1 / 10; // of the ink's longer side: thinner strokes are widened to that, but
const THIN_PX = 3.5; // px of the frame at most
const WEAK = 0.5; // of the ink's threshold: paler pixels are ink where they touch certain ink
const SPECK = 0.25; // of the stroke's width squared: a dot is about one, dust is less

/**
 * Return the ink of {width, height, pixels} in the middle of a frame, `size` px a side, and its
 * [height, width, centre] in heights of the image; null without ink.
 */
export function normalise(image, size, fill) {
  const level = otsu(image.pixels);
  const components = findComponents(image, WEAK * (level + 0.5), level);
  const certain = components.filter((one) => one.isCertain);
  if (!certain.length) return null;
  const main = certain.reduce((best, one) => (one.area > best.area ? one : best));
  const stroke = strokeWidth(image, main.pixels);
  const large = certain.filter((one) => one.area >= SPECK * stroke ** 2 && (isCut(image, main) || !isCut(image, one)));
  const [top, left] = ["top", "left"].map((side) => Math.min(...large.map((one) => one[side])));
  const [bottom, right] = ["bottom", "right"].map((side) => Math.max(...large.map((one) => one[side])));
  const ink = flatten(image, large.flatMap((one) => one.pixels), level, { top, left, bottom, right });
  const position = [bottom - top, right - left, (top + bottom) / 2].map((length) => length / image.height);
  return { pixels: frame(ink, stroke, size, fill), position };
}

/** Return the grey level that separates paper from ink (Otsu 1979). */
function otsu(pixels) {
  const [counts, scores] = [new Float64Array(256), new Float64Array(256)];
  for (const pixel of pixels) counts[pixel] += 1;
  const sum = counts.reduce((total, number, level) => total + number * level, 0);
  let [below, total] = [0, 0];
  counts.forEach((number, level) => {
    below += number;
    total += number * level;
    scores[level] = (sum * below - total * pixels.length) ** 2 / Math.max(below * (pixels.length - below), 1);
  });
  const best = scores.reduce((high, score) => Math.max(high, score)) * (1 - 1e-9);
  const levels = [...scores.keys()].filter((level) => scores[level] >= best);
  return levels[levels.length >> 1];
}

/** Return the 8-connected components of pixels above `weak`; certain ones have a pixel above `certain`. */
function findComponents({ width, height, pixels }, weak, certain) {
  const isNew = pixels.map((pixel) => pixel > weak);
  const components = [];
  for (let start = isNew.indexOf(1); start >= 0; start = isNew.indexOf(1, start)) {
    const members = [start];
    isNew[start] = 0;
    let [top, left, bottom, right, highest] = [height, width, 0, 0, 0];
    for (let next = 0; next < members.length; next++) {
      const [x, y] = [members[next] % width, Math.floor(members[next] / width)];
      [top, left, bottom, right] = [Math.min(top, y), Math.min(left, x), Math.max(bottom, y + 1), Math.max(right, x + 1)];
      highest = Math.max(highest, pixels[members[next]]);
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row++) {
        for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column++) {
          const other = row * width + column;
          if (!isNew[other]) continue;
          isNew[other] = 0;
          members.push(other);
        }
      }
    }
    components.push({ top, left, bottom, right, area: members.length, pixels: members, isCertain: highest > certain });
  }
  return components;
}

const isCut = ({ width, height }, { top, left, bottom, right }) => !top || !left || bottom === height || right === width;

/** Return twice the area by the perimeter of some pixels, at least 1. */
function strokeWidth({ width, pixels }, members) {
  const mask = new Uint8Array(pixels.length);
  for (const index of members) mask[index] = 1;
  let perimeter = 0;
  for (const index of members) {
    const x = index % width;
    perimeter += 4 - (x > 0 && mask[index - 1]) - (x < width - 1 && mask[index + 1]) - (mask[index - width] ?? 0) - (mask[index + width] ?? 0);
  }
  return Math.max((2 * members.length) / perimeter, 1);
}

/** Return the ink of some pixels in a box as {rows, columns, values}, with its soft edge; 1 is the median. */
function flatten({ width, pixels }, members, level, { top, left, bottom, right }) {
  const full = members.map((index) => pixels[index]).filter((pixel) => pixel > level).sort((one, other) => one - other);
  const median = full[full.length >> 1];
  const [rows, columns] = [bottom - top, right - left];
  const values = new Float32Array(rows * columns);
  for (const index of members) {
    const [y, x] = [Math.floor(index / width) - top, (index % width) - left];
    for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, rows - 1); row++) {
      for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, columns - 1); column++) {
        values[row * columns + column] = Math.min(pixels[(row + top) * width + column + left] / median, 1);
      }
    }
  }
  return { rows, columns, values };
}

/** Return a frame, `size` px a side, with ink {rows, columns, values} scaled and centred. */
function frame(ink, stroke, size, fill) {
  const longer = Math.max(ink.rows, ink.columns);
  const inner = size - 2 * Math.max(1, roundEven((size * (1 - fill)) / 2));
  const lacking = Math.max(0, Math.min(inner * THIN, THIN_PX) - Math.max(1, (stroke * inner) / longer));
  const scale = (inner - lacking) / longer;
  const [rows, columns] = [ink.rows, ink.columns].map((side) => Math.max(1, roundEven(side * scale)));
  let small = transpose(resizeRows(transpose(resizeRows(ink, rows)), columns));
  const dark = Math.min(stroke * scale, 1); // a stroke of half a pixel is half dark
  small.values = small.values.map((value) => Math.min(value / dark, 1));
  if (lacking) small = widen(small, lacking / 2);
  const [top, left] = [startOf(small, size), startOf(transpose(small), size)];
  const pixels = new Uint8Array(size * size);
  small.values.forEach((value, index) => {
    const [row, column] = [Math.floor(index / small.columns), index % small.columns];
    pixels[(top + row) * size + left + column] = roundEven(255 * value);
  });
  return pixels;
}

function transpose({ rows, columns, values }) {
  return { rows: columns, columns: rows, values: values.map((_, index) => values[(index % rows) * columns + Math.floor(index / rows)]) };
}

/** Return `target` rows: means where it shrinks, linear interpolation where not. */
function resizeRows({ rows, columns, values }, target) {
  const [scale, resized] = [rows / target, new Float32Array(target * columns)];
  for (let row = 0; row < target; row++) {
    const weights = Array.from({ length: rows }, (_, index) => {
      const off = index + 0.5 - scale * (row + 0.5);
      return scale > 1 ? Number(off > -scale / 2 && off <= scale / 2) : Math.max(1 - Math.abs(off), 0);
    });
    const sum = weights.reduce((total, weight) => total + weight);
    weights.forEach((weight, index) => {
      if (weight) for (let x = 0; x < columns; x++) resized[row * columns + x] += (weight / sum) * values[index * columns + x];
    });
  }
  return { rows: target, columns, values: resized };
}

/** Let strokes reach `width` px further on every side, fractions included. */
function widen(ink, width) {
  const rim = Math.ceil(width);
  let wide = { rows: ink.rows + 2 * rim, columns: ink.columns + 2 * rim };
  wide.values = new Float32Array(wide.rows * wide.columns);
  for (let row = 0; row < ink.rows; row++) {
    wide.values.set(ink.values.subarray(row * ink.columns, (row + 1) * ink.columns), (row + rim) * wide.columns + rim);
  }
  for (let step = 0; step < rim; step++) {
    const share = Math.min(width - step, 1);
    for (const _ of ["down", "across"]) {
      const { rows, columns, values } = wide;
      const spread = values.map((value, index) => {
        const isInner = index >= columns && index < (rows - 1) * columns;
        return isInner ? Math.max(value, share * Math.max(values[index - columns], values[index + columns])) : value;
      });
      wide = transpose({ rows, columns, values: spread });
    }
  }
  return wide;
}

/** Return the row where ink begins, so that its centre of mass is nearest to the middle. */
function startOf({ rows, columns, values }, size) {
  let [mass, moment] = [0, 0];
  values.forEach((value, index) => {
    mass += value;
    moment += value * (Math.floor(index / columns) + 0.5);
  });
  return Math.min(Math.max(roundEven(size / 2 - moment / mass), 0), size - rows);
}
