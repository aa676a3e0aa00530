// Recognise a drawing as siglum/recogniser does: frame its ink, compute the network, the head and the calibration.

import { normalise } from "./ink.js";
import { openNetwork } from "./network.js";
import { rasterise, roundEven } from "./raster.js";

/** Read IEEE 754 half precision. */
function readHalf(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction;
  return bits & 0x8000 ? -size : size;
}

const READERS = {
  float32: (buffer, start, length) => new Float32Array(buffer.slice(start, start + 4 * length)),
  float16: (buffer, start, length) => Float32Array.from(new Uint16Array(buffer.slice(start, start + 2 * length)), readHalf),
  int8: (buffer, start, length) => Float32Array.from(new Int8Array(buffer, start, length)),
};

/** Return the tensors of a table of arrays in a buffer. */
function readTensors(table, buffer) {
  const tensors = {};
  for (const [name, { type, shape, start }] of Object.entries(table)) {
    const length = shape.reduce((product, side) => product * side, 1);
    tensors[name] = { shape, data: READERS[type](buffer, start, length) };
  }
  return tensors;
}

function scaleToUnit(vector) {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return vector.map((value) => value / Math.max(length, 1e-12));
}

const largest = (values) => values.reduce((high, value) => Math.max(high, value), -Infinity);

function logSumExp(values) {
  const high = largest(values);
  return high + Math.log(values.reduce((sum, value) => sum + Math.exp(value - high), 0));
}

/**
 * Return the logits of the classes and of the background for the network's output, and with a mixture, which
 * has several vectors per class, the similarity to the nearest of them.
 */
function computeHead(tensors, mixture, count, output) {
  const [vectors, scale, bias, centre] = ["vectors", "scale", "bias", "centre"].map((name) => tensors[`head.${name}`].data);
  const features = scaleToUnit(output.map((value, index) => value - centre[index]));
  const similarities = scale.map((factor, row) => {
    let sum = 0;
    for (let index = 0; index < features.length; index++) sum += features[index] * vectors[row * features.length + index];
    return factor * sum;
  });
  const logits = Array.from(similarities, (similarity, row) => similarity + bias[row]);
  if (!mixture) return { classes: logits.slice(0, count), background: logits.slice(count) };
  let end = 0;
  const classes = mixture.counts.map((length) => {
    const own = logits.slice(end, (end += length));
    return mixture.softness * logSumExp(own.map((logit) => logit / mixture.softness));
  });
  return { classes, background: logits.slice(end), nearest: largest(similarities.subarray(0, end)) };
}

/** Return what size and position of the ink add to each class: 0 for the nearest, less for others. */
function positionLogits({ "position.mean": mean, "position.std": std }, gain, position, count) {
  const densities = Array.from({ length: count }, (_, label) => {
    const offsets = position.map((value, axis) => (Math.min(value, 1) - mean.data[3 * label + axis]) / std.data[axis]);
    return -2.5 * Math.log1p(offsets.reduce((sum, offset) => sum + offset * offset, 0) / 2);
  });
  return densities.map((density) => gain * (density - largest(densities)));
}

/** Score how unlike the classes a drawing is. */
function scoreOutside({ classes, background, nearest = largest(classes) }) {
  return logSumExp([0, ...background]) - logSumExp(classes) - nearest;
}

/** Return the classes of the prediction set, given all of them with the most probable first. */
function predictionSet(ranking, { sets }) {
  let before = 0;
  return ranking.filter(([label, probability], index) => {
    const start = before;
    before += probability;
    if (!index || probability === ranking[0][1]) return true;
    if (!sets) return false;
    return sets.num_samples ? 1 - probability <= (sets.values[label] ?? sets.values[0]) : start < sets.coverage;
  }).map(([label]) => label);
}

/** Turn logits into {ranking: [class, probability], set: classes, isRejected}. */
function calibrate(logits, calibration) {
  const highest = largest(logits.classes);
  const powers = logits.classes.map((logit) => Math.exp((logit - highest) / calibration.temperature));
  const total = powers.reduce((sum, power) => sum + power);
  const ranking = [...powers.entries()].map(([label, power]) => [label, power / total]).sort(([, one], [, other]) => other - one);
  const { rejection } = calibration;
  const isRejected = Boolean(rejection) && scoreOutside(logits) > rejection.values[0];
  return { ranking, set: predictionSet(ranking, calibration), isRejected };
}

/** Return a function that recognises drawings; `model` comes from siglum/studio/offline_page.py. */
export async function openRecogniser({ arrays, calibration, count, fill, gain, mixture, scaling, size, steps }, buffer, kernel) {
  const tensors = readTensors(arrays, buffer);
  const compute = await openNetwork(steps, tensors, kernel);

  function standardise(ink, position) {
    const area = size * size;
    const data = new Float32Array(scaling.length * area);
    scaling.forEach(([mean, std], plane) => {
      const level = plane && roundEven(255 * Math.min(position[plane - 1], 1));
      for (let index = 0; index < area; index++) data[plane * area + index] = ((plane ? level : ink[index]) / 255 - mean) / std;
    });
    return { shape: [scaling.length, size, size], data };
  }

  return (drawing) => {
    const framed = normalise(rasterise(drawing), size, fill);
    if (!framed) return null;
    const output = compute(standardise(framed.pixels, framed.position));
    if (!tensors["head.vectors"]) return calibrate({ classes: [...output], background: [] }, calibration);
    const logits = computeHead(tensors, mixture, count, output);
    if (tensors["position.mean"]) {
      const added = positionLogits(tensors, gain, framed.position, count);
      logits.classes = logits.classes.map((logit, label) => logit + added[label]);
    }
    return calibrate(logits, calibration);
  };
}
