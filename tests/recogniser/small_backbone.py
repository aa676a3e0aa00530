"""A backbone of one linear layer, and drawings that are print with noise."""

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from small_bundles import SIZE, network

from siglum.config import Preprocess
from siglum.recogniser.bundle import Bundle, Calibration, Card, Golden, Promise
from siglum.recogniser.class_vectors import unit
from siglum.recogniser.head import Head, logits_of, small
from siglum.recogniser.network import Network
from siglum.recogniser.predict import Recogniser, opened

CHARACTERS = tuple("abcdefghijαβγδ")
WIDTH = 24
PREPROCESS = Preprocess(size=SIZE, resize="glyph")
GUESS = Calibration(
    temperature=1.5,
    sets=Promise(share=0.95, thresholds=(0.9,)),
    none=Promise(share=0.02, thresholds=(3.0,)),
)


def printed() -> NDArray[np.uint8]:
    """One picture a character: (14, S, S)."""
    random = np.random.RandomState(5)
    ink = random.randint(0, 2, (len(CHARACTERS), SIZE, SIZE)) * 255
    return ink.astype(np.uint8)


def drawn(label: int, count: int, noise: float = 0.3, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures (N, S, S) of a character, in which some pixels are turned over."""
    random = np.random.RandomState(1000 * seed + label)
    ink = np.repeat(printed()[label : label + 1], count, axis=0)
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
    images = printed()[:, None]
    features = Network(model, PREPROCESS).run(images)
    centre = features.mean(axis=0)
    vectors, scale = small(unit(features - centre), 20.0)
    head = Head(vectors, scale, np.zeros(len(scale), "f4"), centre, cosine=True)
    golden = Golden(images[:2], logits_of(features[:2], head))
    card = Card(title="a backbone", network="linear", parameters=matrix.size)
    bundle = Bundle(model, PREPROCESS, CHARACTERS, GUESS, card, golden, head)
    return opened(bundle, "backbone")
