// Runs the recogniser beside the page, so that the pen never waits.

import { openRecogniser } from "./recognise.js";

const decode = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

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
