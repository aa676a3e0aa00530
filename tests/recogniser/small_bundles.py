"""Bundles whose predictions can be computed by hand, and a backbone of one linear layer."""

from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from siglum.config import Preprocess
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs, Samples
from siglum.recogniser.calibration import Calibration, Rejection, Threshold
from siglum.recogniser.head import Head, unit
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import Recogniser, open_bundle

PLACES = np.array([[0.5, 0.4, 0.3]] * 4 + [[np.nan] * 3], "f4")
SIZE, CLASSES = 8, ("a", "b", "c")
PREPROCESS = Preprocess(size=SIZE, polarity="keep", mean=0.25, std=0.5)


def weights(outputs: int = len(CLASSES)) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of the linear network: (D, S * S) and (D,)."""
    random = np.random.RandomState(0)
    shape = (outputs, SIZE * SIZE)
    return random.normal(size=shape).astype("f4"), random.normal(size=outputs).astype("f4")


def linear(outputs: int = len(CLASSES)) -> onnx.ModelProto:
    """A network of one linear layer."""
    return layer(dict(zip("wb", weights(outputs), strict=True)))


def layer(tensors: dict[str, NDArray]) -> onnx.ModelProto:
    """A network of one linear layer with the weights `w` (D, S * S) and perhaps a bias `b` (D,)."""
    flatten = helper.make_node("Flatten", ["images"], ["flat"])
    product = helper.make_node("Gemm", ["flat", *tensors], ["logits"], transB=1)
    return network([flatten, product], tensors, len(tensors["w"]))


def network(
    nodes: list[onnx.NodeProto], tensors: dict[str, NDArray], outputs: int = len(CLASSES)
) -> onnx.ModelProto:
    """A network of these nodes from "images" to "logits"."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def pictures(count: int = 3, seed: int = 1) -> NDArray[np.uint8]:
    """Bytes (N, 1, S, S)."""
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (count, 1, SIZE, SIZE)).astype(np.uint8)


def by_hand(images: NDArray[np.uint8], outputs: int = len(CLASSES)) -> NDArray[np.float32]:
    """What the linear network gives."""
    matrix, bias = weights(outputs)
    seen = (images.reshape(len(images), -1) / 255 - 0.25) / 0.5
    return (seen @ matrix.T + bias).astype("f4")


def a_bundle(**changes: object) -> Bundle:
    """A bundle of the linear network."""
    bundle = Bundle(
        model=linear().SerializeToString(),
        preprocess=PREPROCESS,
        classes=CLASSES,
        calibration=Calibration(temperature=2.0, num_samples=9),
        card=Card(title="three signs", network="linear", parameters=195),
        reference=ReferenceOutputs(pictures(), by_hand(pictures())),
    )
    return replace(bundle, **changes)  # type: ignore[arg-type]


def a_taught_bundle() -> Bundle:
    """The same network's outputs as features, with a class for each of four vectors behind them."""
    head = a_head()
    features = by_hand(pictures()) - head.centre
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return a_bundle(
        classes=("p", "q", "r", "s"),
        reference=ReferenceOutputs(
            pictures(), (0.5 * features @ head.vectors.T + head.bias).astype("f4")
        ),
        head=head,
        samples=Samples(pictures(5)[:, 0], np.array([0, 1, 2, 3, 0]), PLACES),
    )


def a_head() -> Head:
    random = np.random.RandomState(2)
    return Head(
        vectors=random.normal(size=(4, 3)).astype("f4"),
        scale=np.full(4, 0.5, "f4"),
        bias=np.arange(4, dtype="f4"),
        centre=np.array([0.5, 0, -0.5], "f4"),
    )


CHARACTERS = tuple("abcdefghijαβγδ")
WIDTH = 24
GLYPH = Preprocess(size=SIZE, resize="glyph")
DEFAULT = Calibration(
    temperature=1.5,
    sets=Threshold(coverage=0.95, values=(0.9,)),
    rejection=Rejection(coverage=0.98, values=(3.0,), score="energy"),
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
    model = layer({"w": matrix}).SerializeToString()
    images = font_images()[:, None]
    features = Network(model, GLYPH)(images)
    centre = features.mean(axis=0)
    vectors, ones = unit(features - centre), np.ones(len(features), "f4")
    head = Head(vectors, 20 * ones, 0 * ones, centre)
    reference = ReferenceOutputs(images[:2], head.logits(head.features(features[:2])))
    card = Card(kind="backbone", title="a backbone", network="linear", parameters=matrix.size)
    bundle = Bundle(model, GLYPH, CHARACTERS, DEFAULT, card, reference, head)
    return open_bundle(bundle, "backbone")
