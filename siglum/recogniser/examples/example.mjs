// Recognise light ink on black, a file of size x size bytes: node example.mjs FILE (needs: npm install onnxruntime-web)
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;
const { labels, size, planes } = JSON.parse(await readFile("labels.json", "utf-8"));
const session = await ort.InferenceSession.create(await readFile("recogniser.onnx"));
const pixels = new Uint8Array(await readFile(process.argv[2])); // in a browser: the canvas, cropped to the ink
const images = new ort.Tensor("uint8", pixels, [1, planes, size, size]);
const { probabilities, rejected } = await session.run({ images });
const ranking = [...probabilities.data.entries()].sort(([, one], [, other]) => other - one);
for (const [label, probability] of ranking.slice(0, 5)) console.log(`${labels[label]}  ${probability.toFixed(3)}`);
console.log(rejected.data[0] ? "none of these" : "");
