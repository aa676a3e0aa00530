// Runs the recogniser beside the page, so that the pen never waits.

import { openRecogniser } from "./recognise.js";

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~"; // base 85

/** Return the bytes of a text that offline_page.py encoded: four bytes are five digits. */
function decode(text) {
  const values = new Uint8Array(128);
  [...DIGITS].forEach((digit, value) => (values[digit.charCodeAt(0)] = value));
  const view = new DataView(new ArrayBuffer(4 * Math.ceil(text.length / 5)));
  const padded = text.padEnd((5 * view.byteLength) / 4, DIGITS.at(-1));
  for (let start = 0, word = 0; start < padded.length; start += 5, word = 0) {
    for (let index = start; index < start + 5; index++) word = 85 * word + values[padded.charCodeAt(index)];
    view.setUint32((4 * start) / 5, word);
  }
  return new Uint8Array(view.buffer, 0, Math.floor((4 * text.length) / 5));
}

async function decompress(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

let recognise = null; // a promise of the recogniser

/** The first message is the model; each other one is a drawing, which gets an answer. */
onmessage = async ({ data }) => {
  try {
    recognise ??= openRecogniser(data.model, await decompress(decode(data.weights)), decode(data.kernel));
    postMessage({ answer: data.drawing ? (await recognise)(data.drawing) : null, isReady: Boolean(await recognise) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
};
