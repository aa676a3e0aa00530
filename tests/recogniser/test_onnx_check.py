"""What the walker lets through is a plain network, by the word of the onnx package itself."""

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from small_bundles import SIZE, linear, network

from siglum.errors import DataError
from siglum.recogniser import onnx_check

RAW = linear().SerializeToString()


def refusal(model: onnx.ModelProto | bytes) -> str:
    raw = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(DataError) as error:
        onnx_check.check(raw)
    return str(error.value)


def plain(model: onnx.ModelProto) -> bool:
    """Whether a parsed model holds nothing but a network, by its fields."""
    graph = model.graph
    tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute)]
    return (
        not (model.functions or model.training_info or model.metadata_props)
        and not (graph.sparse_initializer or graph.quantization_annotation)
        and all(entry.domain in ("", "ai.onnx") for entry in model.opset_import)
        and all(node.domain in ("", "ai.onnx") for node in graph.node)
        and all(node.op_type in onnx_check.OPERATORS for node in graph.node)
        and not any(tensor.external_data or tensor.data_location for tensor in tensors)
        and not any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)
    )


def test_a_plain_network_is_counted() -> None:
    found = onnx_check.check(RAW)

    assert found.operators == {"Flatten": 1, "Gemm": 1}
    assert (found.tensors, found.parameters, found.opset) == (2, 3 * SIZE * SIZE + 3, 18)


def test_every_operator_that_is_allowed_exists() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}

    assert known >= onnx_check.OPERATORS


def test_no_operator_that_is_allowed_holds_a_graph() -> None:
    for schema in onnx.defs.get_all_schemas():
        if schema.domain == "" and schema.name in onnx_check.OPERATORS:
            kinds = {attribute.type for attribute in schema.attributes.values()}
            assert not kinds & {
                onnx.defs.OpSchema.AttrType.GRAPH,
                onnx.defs.OpSchema.AttrType.GRAPHS,
            }, schema.name


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(RAW) - 1),
    st.integers(0, 255),
    st.integers(0, len(RAW)),
    st.binary(max_size=8),
)
def test_whatever_is_changed_what_passes_is_plain(
    place: int, value: int, other: int, more: bytes
) -> None:
    """onnx parses every file that passes, and finds nothing in it that we do not allow."""
    changed = bytearray(RAW)
    changed[place] = value
    changed[other:other] = more
    try:
        onnx_check.check(bytes(changed))
    except DataError:
        return
    try:
        parsed = onnx.load_from_string(bytes(changed))
    except DecodeError:
        return  # of text that is not UTF-8; onnxruntime refuses it, too

    assert plain(parsed)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_in_words(raw: bytes) -> None:
    assert refusal(raw).startswith("model.onnx must ")


def test_every_truncation_of_the_network_is_refused() -> None:
    for length in range(len(RAW) - 20):  # behind it stands only the opset, which may be cut in two
        assert refusal(RAW[:length]).startswith("model.onnx must ")


def test_data_outside_the_file_is_refused() -> None:
    model = linear()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    assert refusal(model) == "tensor 'w' of model.onnx must lie in the file, got one outside it."
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"

    assert refusal(model) == (
        "model.onnx must hold nothing but a plain network, got data outside the file."
    )


def test_other_operators_are_refused() -> None:
    for operator in ("Loop", "If", "Scan", "NonMaxSuppression", "RandomNormal", "Made"):
        model = network([helper.make_node(operator, ["images"], ["logits"])], {})
        assert refusal(model) == (
            f"model.onnx must use no operators but {', '.join(sorted(onnx_check.OPERATORS))}, got "
            f"{operator!r}."
        )


def test_other_domains_are_refused() -> None:
    message = "model.onnx must use ONNX's own operators only, got domain 'com.microsoft'."
    model = network([helper.make_node("Relu", ["images"], ["y"], domain="com.microsoft")], {})
    assert refusal(model) == message
    model = linear()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))

    assert refusal(model) == message


def test_graphs_within_the_graph_are_refused() -> None:
    inner = helper.make_graph([], "inner", [], [])
    for attributes in ({"body": inner}, {"bodies": [inner]}):
        model = network([helper.make_node("Relu", ["images"], ["logits"], **attributes)], {})
        assert "got a graph within the graph." in refusal(model) or "got graphs within" in refusal(
            model
        )


def test_functions_training_and_metadata_are_refused() -> None:
    begin = "model.onnx must hold nothing but a plain network, got "
    model = linear()
    model.metadata_props.add().key = "ort_config"
    assert refusal(model) == f"{begin}metadata."
    model = linear()
    model.functions.add().name = "Relu"
    assert refusal(model) == f"{begin}functions."
    model = linear()
    model.training_info.add()
    assert refusal(model) == f"{begin}training."
    model = linear()
    model.graph.sparse_initializer.add()
    assert refusal(model) == f"{begin}sparse tensors."
    model = linear()
    model.graph.quantization_annotation.add()
    assert refusal(model) == f"{begin}quantization annotations."


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(kind: type, value: float) -> None:
    tensor = np.zeros(5, kind)
    tensor[3] = value

    assert refusal(network([], {"bias": tensor})) == (
        "tensor 'bias' of model.onnx must hold finite numbers, got NaN or infinity."
    )


def test_tensors_of_another_size_or_kind_are_refused() -> None:
    model = linear()
    model.graph.initializer[1].dims[0] = 4
    assert refusal(model) == (
        "tensor 'b' of model.onnx must have the bytes of shape [4], got 12 of them."
    )
    model = network([], {})
    model.graph.initializer.append(numpy_helper.from_array(np.array(["text"], object), "t"))
    assert refusal(model).startswith(
        "model.onnx must hold nothing but a plain network, got field 6"
    )
    model = network([], {})
    model.graph.initializer.append(helper.make_tensor("f", TensorProto.FLOAT, [2], [1.0, 2.0]))
    assert refusal(model).startswith(
        "model.onnx must hold nothing but a plain network, got field 4"
    )


def test_a_file_without_network_is_refused() -> None:
    message = "model.onnx must be an ONNX file with one graph and an opset, got another."
    model = linear()
    model.ClearField("opset_import")

    assert refusal(b"") == refusal(network([], {})) == refusal(model) == message
    assert refusal(RAW + RAW) == message


def test_more_fields_than_a_network_has_are_refused() -> None:
    """Two bytes each: walking over them would take minutes."""
    model = b"\x08\x01" * 200_001

    assert refusal(model) == "model.onnx must have at most 200,000 fields, got more."
