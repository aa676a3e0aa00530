"""Recognise an image of one character: python example.py IMAGE (needs onnxruntime and Pillow)."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

about = json.loads(Path("labels.json").read_text("utf-8"))
size, inner = about["size"], round(about["size"] * (about["fill"] or 1))
grey = Image.open(sys.argv[1]).convert("L")
if np.median(np.asarray(grey)) > 127:
    grey = ImageOps.invert(grey)  # the network reads light ink on black
ink = ImageOps.contain(grey.crop(grey.point(lambda v: 255 * (v > 64)).getbbox()), (inner, inner))
frame = Image.new("L", (size, size))
frame.paste(ink, ((size - ink.width) // 2, (size - ink.height) // 2))
session = onnxruntime.InferenceSession("recogniser.onnx", providers=["CPUExecutionProvider"])
probabilities, rejected = session.run(None, {"images": np.asarray(frame)[None, None]})
for label in np.argsort(-probabilities[0])[:5]:
    print(f"{about['labels'][label]}  {probabilities[0][label]:.3f}")
print("none of these" if rejected[0] else "")
