"""A backbone of one linear layer, and drawings that are font images with noise."""

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from small_bundles import SIZE, network

from siglum.config import Preprocess
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs
from siglum.recogniser.head import Calibration, Head, Threshold, unit
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import Recogniser, open_bundle

CHARACTERS = tuple("abcdefghijαβγδ")
WIDTH = 24
PREPROCESS = Preprocess(size=SIZE, resize="glyph")
DEFAULT = Calibration(
    temperature=1.5,
    sets=Threshold(coverage=0.95, values=(0.9,)),
    rejection=Threshold(coverage=0.98, values=(3.0,)),
)


def font_images() -> NDArray[np.uint8]:
    """One picture a character: (14, S, S)."""
    random = np.random.RandomState(5)
    ink = random.randint(0, 2, (len(CHARACTERS), SIZE, SIZE)) * 255
    return ink.astype(np.uint8)


def draw(label: int, count: int, noise: float = 0.3, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures (N, S, S) of a character, in which some pixels are turned over."""
    random = np.random.RandomState(1000 * seed + label)
    ink = np.repeat(font_images()[label : label + 1], count, axis=0)
    return np.where(random.rand(*ink.shape) < noise / 2, 255 - ink, ink).astype(np.uint8)


def a_backbone() -> Recogniser:
    """Features are a random projection; a character's vector is that of its picture."""
    random = np.random.RandomState(3)
    matrix = random.normal(size=(WIDTH, SIZE * SIZE)).astype("f4")
    model = network(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["logits"], transB=1),
        ],
        {"w": matrix},
        WIDTH,
    ).SerializeToString()
    images = font_images()[:, None]
    features = Network(model, PREPROCESS)(images)
    centre = features.mean(axis=0)
    vectors, ones = unit(features - centre), np.ones(len(features), "f4")
    head = Head(vectors, 20 * ones, 0 * ones, centre)
    reference = ReferenceOutputs(images[:2], head.logits(head.features(features[:2])))
    card = Card(kind="backbone", title="a backbone", network="linear", parameters=matrix.size)
    bundle = Bundle(model, PREPROCESS, CHARACTERS, DEFAULT, card, reference, head)
    return open_bundle(bundle, "backbone")
