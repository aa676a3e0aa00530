// Compute ONNX operators on one image. A tensor is {shape, data}; its shape has no batch.

const PAGE = 2 ** 16; // bytes of WebAssembly's memory
const roundTo = (multiple, length) => multiple * Math.ceil(length / multiple);

/** Matrix products in WebAssembly, whose memory holds the weights. */
async function createMultiplier(kernel) {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { instance } = await WebAssembly.instantiate(kernel, { env: { memory } });
  let end = 0; // of the weights, bytes

  /** Return `length` numbers from `start`; a view is valid until the memory grows again. */
  function view(start, length) {
    const lacking = start + 4 * length - memory.buffer.byteLength;
    if (lacking > 0) memory.grow(Math.ceil(lacking / PAGE));
    return new Float32Array(memory.buffer, start, length);
  }

  /** Store weights (rows, depth); return a function of (count, fill) for their product with `count` vectors. */
  return (weights, rows, depth) => {
    const [start, height, length] = [end, roundTo(4, rows), roundTo(4, depth)];
    const matrix = view(start, height * length);
    for (let row = 0; row < rows; row++) matrix.set(weights.subarray(row * depth, (row + 1) * depth), row * length);
    end += 4 * height * length;
    return (count, fill) => {
      const width = roundTo(2, count);
      const result = end + 4 * width * length;
      view(end, width * length + height * width).fill(0, 0, width * length);
      fill(view(end, width * length), length);
      instance.exports.multiply(start, end, result, height, width, length);
      const [product, data] = [view(result, height * width), new Float32Array(rows * count)];
      for (let row = 0; row < rows; row++) data.set(product.subarray(row * width, row * width + count), row * count);
      return data;
    };
  };
}

function addBias(data, { shape: [channels], data: bias }) {
  const size = data.length / channels;
  for (let index = 0; index < data.length; index++) data[index] += bias[Math.floor(index / size)];
}

/** Return height and width of a window's output, and the image's row or column at an offset in the window. */
function windows([, ...sides], { kernel_shape: kernel, strides = [1, 1], pads = [0, 0, 0, 0] }) {
  const size = sides.map((side, axis) => Math.floor((side + pads[axis] + pads[axis + 2] - kernel[axis]) / strides[axis]) + 1);
  return { size, at: (axis, index, offset) => index * strides[axis] + offset - pads[axis] };
}

function convolve({ shape, data }, { shape: [filters], multiply }, bias, attributes) {
  const [channels, height, width] = shape;
  const [kernelHeight, kernelWidth] = attributes.kernel_shape;
  const { size: [rows, columns], at } = windows(shape, attributes);
  const output = multiply(rows * columns, (patches, length) => {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const left = at(1, column, 0);
        const [first, last] = [Math.max(0, -left), Math.min(kernelWidth, width - left)];
        for (let channel = 0; channel < channels; channel++) {
          for (let down = 0; down < kernelHeight; down++) {
            const y = at(0, row, down);
            if (y < 0 || y >= height) continue;
            const source = (channel * height + y) * width + left;
            const target = (row * columns + column) * length + (channel * kernelHeight + down) * kernelWidth;
            for (let across = first; across < last; across++) patches[target + across] = data[source + across];
          }
        }
      }
    }
  });
  if (bias) addBias(output, bias);
  return { shape: [filters, rows, columns], data: output };
}

function poolMaximum({ shape, data }, attributes) {
  const [channels, height, width] = shape;
  const [kernelHeight, kernelWidth] = attributes.kernel_shape;
  const { size: [rows, columns], at } = windows(shape, attributes);
  const pooled = new Float32Array(channels * rows * columns).fill(-Infinity);
  for (let index = 0; index < pooled.length; index++) {
    const [channel, rest] = [Math.floor(index / (rows * columns)), index % (rows * columns)];
    for (let down = 0; down < kernelHeight; down++) {
      for (let across = 0; across < kernelWidth; across++) {
        const [y, x] = [at(0, Math.floor(rest / columns), down), at(1, rest % columns, across)];
        if (y < 0 || y >= height || x < 0 || x >= width) continue;
        pooled[index] = Math.max(pooled[index], data[(channel * height + y) * width + x]);
      }
    }
  }
  return { shape: [channels, rows, columns], data: pooled };
}

function normaliseBatch({ shape, data }, [scale, bias, mean, variance], { epsilon = 1e-5 }) {
  const size = data.length / shape[0];
  const normalised = data.map((value, index) => {
    const channel = Math.floor(index / size);
    const standard = (value - mean.data[channel]) / Math.sqrt(variance.data[channel] + epsilon);
    return standard * scale.data[channel] + bias.data[channel];
  });
  return { shape, data: normalised };
}

function applyWeights({ data }, { shape: [rows], multiply }, bias) {
  const output = multiply(1, (vector) => vector.set(data));
  if (bias) addBias(output, bias);
  return { shape: [rows], data: output };
}

/** Combine numbers; further tensors are repeated along the first axes. */
const combine = (operation) => (inputs) => inputs.reduce(({ shape, data }, other) =>
  ({ shape, data: data.map((value, index) => operation(value, other.data[index % other.data.length])) }));

/** Multiply each row by a number of its own. */
function scaleRows({ shape, data }, { data: scale }) {
  const size = data.length / scale.length;
  return { shape, data: data.map((value, index) => value * scale[Math.floor(index / size)]) };
}

function swapAxes({ shape: [rows, columns], data }) {
  const swapped = data.map((_, index) => data[(index % rows) * columns + Math.floor(index / rows)]);
  return { shape: [columns, rows], data: swapped };
}

const flattenAll = ([{ data }]) => ({ shape: [data.length], data });

/** Join along the first axis. */
function concatenate(tensors) {
  const [{ shape: [, ...rest] }] = tensors;
  const data = new Float32Array(tensors.reduce((sum, one) => sum + one.data.length, 0));
  let end = 0;
  for (const one of tensors) {
    data.set(one.data, end);
    end += one.data.length;
  }
  return { shape: [data.length / rest.reduce((product, side) => product * side, 1), ...rest], data };
}

/** Repeat a tensor along the first axis; `sides` has the batch, too. */
function expand([{ data }, { data: [, ...sides] }]) {
  const size = sides.reduce((product, side) => product * side, 1);
  return { shape: sides, data: Float32Array.from({ length: size }, (_, index) => data[index % data.length]) };
}

/** Return the lengths of vectors along the first axis. */
function vectorLengths([{ shape: [channels, ...rest], data }]) {
  const sums = new Float32Array(data.length / channels);
  data.forEach((value, index) => (sums[index % sums.length] += value * value));
  return { shape: [1, ...rest], data: sums.map(Math.sqrt) };
}

function clip([{ shape, data }, low, high]) {
  const [from, to] = [low?.data[0] ?? -Infinity, high?.data[0] ?? Infinity];
  return { shape, data: data.map((value) => Math.min(Math.max(value, from), to)) };
}

function readShape([{ shape }], { start = 0, end }) {
  const sides = [1, ...shape].slice(start, end);
  return { shape: [sides.length], data: Float32Array.from(sides) };
}

const OPERATORS = { // functions of inputs and attributes; Mul is computed once
  Add: combine((value, other) => value + other),
  BatchNormalization: ([input, ...parameters], attributes) => normaliseBatch(input, parameters, attributes),
  Clip: clip,
  Concat: concatenate,
  Conv: ([input, weights, bias], attributes) => convolve(input, weights, bias, attributes),
  Div: combine((value, other) => value / other),
  Expand: expand,
  Flatten: flattenAll,
  Gemm: ([input, weights, bias]) => applyWeights(input, weights, bias),
  Max: combine(Math.max),
  MaxPool: ([input], attributes) => poolMaximum(input, attributes),
  ReduceL2: vectorLengths,
  Relu: ([{ shape, data }]) => ({ shape, data: data.map((value) => Math.max(value, 0)) }),
  Reshape: flattenAll,
  Shape: readShape,
  Sub: combine((value, other) => value - other),
};

/** Return a function of an image, a tensor, that computes `steps` with `constants`, tensors by name. */
export async function openNetwork(steps, constants, kernel) {
  const store = await createMultiplier(kernel);
  const tensors = { ...constants };
  for (const { operator, inputs: [first, second], output, attributes } of steps) {
    if (operator === "Mul") tensors[output] = scaleRows(tensors[first], tensors[second]);
    if (!["Conv", "Gemm"].includes(operator)) continue;
    const isTransposed = operator === "Conv" || attributes.transB;
    const { shape, data } = isTransposed ? tensors[second] : swapAxes(tensors[second]);
    tensors[second] = { shape, data, multiply: store(data, shape[0], data.length / shape[0]) };
  }
  const remaining = steps.filter(({ operator }) => operator !== "Mul");
  const [input] = remaining[0].inputs;
  return (image) => {
    let result = (tensors[input] = image);
    for (const { operator, inputs, output, attributes } of remaining) {
      result = tensors[output] = OPERATORS[operator](inputs.map((name) => tensors[name]), attributes);
    }
    return result.data;
  };
}
