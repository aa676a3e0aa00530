"""Only plain networks of bounded cost are opened; onnxruntime computes what the arithmetic says."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper
from small_bundles import PREPROCESS, SIZE, by_hand, linear, network, pictures

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.recogniser import onnx as checked
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import default_backbone

RAW = linear().SerializeToString()
FLAT = helper.make_node("Flatten", ["images"], ["flat"])


def refusal(model: onnx.ModelProto | bytes, preprocess: Preprocess = PREPROCESS) -> str:
    raw = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(DataError) as error:
        Network(raw, preprocess)
    return str(error.value)


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = linear()
    change(model)
    return model


def products(count: int, side: int, hidden: bool = False) -> onnx.ModelProto:
    """`count` products of constant matrices of `side` x `side`, of which an image gets a number."""
    shape = np.array([side, side])
    nodes = [
        FLAT,
        helper.make_node("Expand", ["one", "shape"], ["p0"]),
        *(helper.make_node("MatMul", [f"p{i}", "p0"], [f"p{i + 1}"]) for i in range(count)),
        helper.make_node("ReduceMean", [f"p{count}"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["flat", "w"], ["linear"], transB=1),
        helper.make_node("Add", ["linear", "mean"], ["logits"]),
    ]
    tensors: dict[str, Any] = {"one": np.ones((1, 1), "f4"), "w": np.zeros((3, SIZE**2), "f4")}
    tensors["shape"] = shape
    if hidden:
        tensors["wide"] = tensors.pop("shape").astype("f4")
        nodes.insert(0, helper.make_node("Cast", ["wide"], ["shape"], to=TensorProto.INT64))
    return network(nodes, tensors)


def test_a_linear_network_is_its_matrix_in_every_batch() -> None:
    images = pictures(checked.BATCH_VALUES // SIZE**2 + 10)

    outputs = Network(RAW, PREPROCESS)(images)

    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, by_hand(images), rtol=1e-5, atol=1e-5)


def test_a_network_that_computes_too_much_is_refused_unopened() -> None:
    """4,000 products of 4000 x 4000 would take hours."""
    assert "computes too much: " in refusal(products(4000, 4000))


def test_a_network_of_unknown_shapes_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """400 products of 1500 x 1500 would take many times the limit."""
    monkeypatch.setattr(checked, "MAX_SECONDS", 0.2)
    assert "onnxruntime cannot run the network: " in refusal(products(400, 1500, hidden=True))


def test_a_costly_convolution_is_refused() -> None:
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["x"], pads=[8] * 4),
        helper.make_node("Expand", ["zero", "shape"], ["second"]),
        helper.make_node("Conv", ["x", "second"], ["y"]),
        helper.make_node("GlobalAveragePool", ["y"], ["z"]),
        helper.make_node("Flatten", ["z"], ["logits"]),
    ]
    tensors = {
        "first": np.zeros((3000, 1, 8, 8), "f4"),
        "zero": np.zeros(1, "f4"),
        "shape": np.array([3000, 3000, 8, 8]),
    }
    assert "computes too much: " in refusal(network(nodes, tensors, 3000))


EMPTY = helper.make_graph([], "inner", [], [])
BRANCH = helper.make_node("If", ["c"], ["logits"], then_branch=EMPTY, else_branch=EMPTY)


def outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


HOSTILE: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "other operator": (lambda m: setattr(m.graph.node[0], "op_type", "Loop"), "operator 'Loop'"),
    "other domain": (lambda m: setattr(m.graph.node[0], "domain", "com.evil"), "'com.evil'"),
    "other opset": (lambda m: m.opset_import.add(domain="com.evil", version=1), "'com.evil'"),
    "branch": (lambda m: m.graph.node.append(BRANCH), "field 6 of its attribute"),
    "function": (lambda m: m.functions.add(name="f"), "field 25 of its model"),
    "training": (lambda m: m.training_info.add(), "field 20 of its model"),
    "metadata": (lambda m: m.metadata_props.add(key="a"), "field 14 of its model"),
    "outside data": (outside, "of its tensor"),
    "declared shapes": (lambda m: m.graph.value_info.add(name="flat"), "field 13 of its graph"),
    "sparse": (lambda m: m.graph.sparse_initializer.add(), "field 15 of its graph"),
    "text tensor": (lambda m: m.graph.initializer[0].string_data.append(b"x"), "field 6 of"),
    "no nodes": (lambda m: m.graph.ClearField("node"), "onnxruntime cannot run the network"),
    "no opset": (lambda m: m.ClearField("opset_import"), "onnxruntime cannot run the network"),
    "wrong size": (lambda m: m.graph.initializer[0].dims.append(2), "onnxruntime cannot run"),
    "large": (lambda m: m.graph.initializer[0].dims.append(9), "larger than their data"),
    "complex": (lambda m: setattr(m.graph.initializer[0], "data_type", 14), "cannot run the"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_everything_but_a_plain_network_is_refused(name: str) -> None:
    change, message = HOSTILE[name]
    assert message in refusal(changed(change))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_checked_again(place: int, byte: int) -> None:
    damaged = bytearray(RAW)
    damaged[place] = byte
    try:
        Network(bytes(damaged), PREPROCESS)
    except DataError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", [b"images", b"logits", b"flat"])
def test_names_must_be_utf_8(name: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    refusal(RAW.replace(name, b"\xff" + name[1:]))
    assert capfd.readouterr() == ("", "")


def test_a_file_of_endless_fields_is_refused() -> None:
    assert "fields" in refusal(b"\x08\x01" * (checked.MAX_FIELDS + 1))


def test_another_input_is_refused() -> None:
    assert "must take float32 images ['N', 1, 9, 9] and" in refusal(RAW, Preprocess(size=9))
    colour = Preprocess(size=SIZE, channels=3)
    assert "must take float32 images ['N', 3, 8, 8] and" in refusal(RAW, colour)


def test_the_shipped_network_passes_the_checks_that_it_skips() -> None:
    raw = default_backbone().bundle.model

    assert hashlib.sha256(raw).hexdigest() == checked.TRUSTED
    Network(raw + b"\x08\x08", default_backbone().preprocess)  # other bytes, of the same meaning
