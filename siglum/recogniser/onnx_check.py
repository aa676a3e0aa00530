"""Looks through an ONNX file before onnxruntime sees it, and refuses what a network does not need.

A walk over the protobuf wire format along the few messages of ONNX that a plain network consists
of. What is not listed here is refused: outside data, functions, other domains, operators that we
do not use, graphs within graphs (and with them loops and branches), training, sparse tensors.

Source: the ONNX project's onnx.proto (IR version 10), and Google's "Protocol Buffers: Encoding".
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np

from siglum.errors import DataError

# fmt: off
OPERATORS = frozenset((
    "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant",
    "Conv", "Div", "Dropout", "Elu", "Erf", "Expand", "Flatten", "Gather", "Gelu", "Gemm",
    "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "HardSigmoid", "HardSwish",
    "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "LogSoftmax",
    "MatMul", "Max", "MaxPool", "Mean", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow",
    "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum", "ReduceSumSquare", "Relu",
    "Reshape", "Selu", "Shape", "Sigmoid", "Slice", "Softmax", "Softplus", "Split", "Sqrt",
    "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze",
))
# fmt: on
MAX_FIELDS = 200_000  # a network of 170 layers has about 5,000
MAX_AXES = 8
# Bytes a number, by TensorProto.DataType: float, uint8, int8, int32, int64, bool, half, double.
SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}
FLOATS = {1: "<f4", 10: "<f2", 11: "<f8"}

VARINT, BYTES, FIXED = 0, 2, {1: 8, 5: 4}  # the wire types, and the bytes of the fixed ones

# The fields that each message may have, by number, as onnx.proto names them.
MODEL = (1, 2, 3, 4, 5, 6, 7, 8)  # versions, producer, domain, doc_string, graph, opset_import
OPSET = (1, 2)  # domain, version
GRAPH = (1, 2, 5, 10, 11, 12, 13)  # node, name, initializer, doc_string, input, output, value_info
NODE = (1, 2, 3, 4, 5, 6, 7)  # input, output, name, op_type, attribute, doc_string, domain
ATTRIBUTE = (1, 2, 3, 4, 5, 7, 8, 9, 13, 20)  # name, f, i, s, t, lists of f, i, s; doc, type
TENSOR = (1, 2, 8, 9, 12, 14)  # dims, data_type, name, raw_data, doc_string, data_location
REFUSED = {
    ("model", 14): "metadata",
    ("model", 20): "training",
    ("model", 25): "functions",
    ("graph", 14): "quantization annotations",
    ("graph", 15): "sparse tensors",
    ("attribute", 6): "a graph within the graph",
    ("attribute", 11): "graphs within the graph",
    ("attribute", 22): "sparse tensors",
    ("attribute", 23): "sparse tensors",
    ("tensor", 13): "data outside the file",
}

Value = int | memoryview


@dataclass
class Contents:
    """What a network consists of."""

    name: str  # of the file, for messages
    operators: dict[str, int] = field(default_factory=dict)  # how often each is used
    tensors: int = 0
    parameters: int = 0  # numbers in its floating-point tensors
    opset: int = 0
    fields: int = 0  # that were walked over


def check(raw: bytes, name: str = "model.onnx") -> Contents:
    """Walk through an ONNX file, and return what is in it.

    Raises:
        DataError: if it is no ONNX file, or holds anything that is not allowed, or a weight that
            is not finite.
    """
    found, graphs = Contents(name), 0
    for number, value in _fields(memoryview(raw), "model", MODEL, found):
        if number == 8:
            _opset(_message(value, found), found)
        elif number == 7:
            graphs += 1
            _graph(_message(value, found), found)
    if graphs != 1 or not found.operators or not found.opset:
        raise DataError(f"{name} must be an ONNX file with one graph and an opset, got another.")
    return found


def _opset(raw: memoryview, found: Contents) -> None:
    for number, value in _fields(raw, "opset", OPSET, found):
        if number == 1:
            _own_domain(_text(value, found), found)
        elif isinstance(value, int):
            found.opset = value


def _own_domain(domain: str, found: Contents) -> None:
    if domain not in ("", "ai.onnx"):
        raise DataError(
            f"{found.name} must use ONNX's own operators only, got domain {domain[:80]!r}."
        )


def _graph(raw: memoryview, found: Contents) -> None:
    for number, value in _fields(raw, "graph", GRAPH, found):
        if number == 1:
            _node(_message(value, found), found)
        elif number == 5:
            _tensor(_message(value, found), found)


def _node(raw: memoryview, found: Contents) -> None:
    operator = ""
    for number, value in _fields(raw, "node", NODE, found):
        if number == 4:
            operator = _text(value, found)
        elif number == 7:
            _own_domain(_text(value, found), found)
        elif number == 5:
            for inner, part in _fields(_message(value, found), "attribute", ATTRIBUTE, found):
                if inner == 5:
                    _tensor(_message(part, found), found)
    if operator not in OPERATORS:
        raise DataError(
            f"{found.name} must use no operators but {', '.join(sorted(OPERATORS))}, got "
            f"{operator[:80]!r}."
        )
    found.operators[operator] = found.operators.get(operator, 0) + 1


def _tensor(raw: memoryview, found: Contents) -> None:
    """Check that a tensor lies in the file, has the size it states, and is finite."""
    dims: list[int] = []
    kind, called, data, in_file = 0, "", memoryview(b""), True
    for number, value in _fields(raw, "tensor", TENSOR, found):
        if number == 1:
            dims += [value] if isinstance(value, int) else _varints(value, found)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8:
            called = _text(value, found)[:80]
        elif number == 9:
            data = _message(value, found)
        elif number == 14:
            in_file = value == 0
    where = f"tensor {called!r} of {found.name}"
    if not in_file:
        raise DataError(f"{where} must lie in the file, got one outside it.")
    if kind not in SIZES or len(dims) > MAX_AXES:
        raise DataError(
            f"{where} must hold plain numbers along at most {MAX_AXES} axes, got type {kind} along "
            f"{len(dims)}."
        )
    if math.prod(dims) * SIZES[kind] != len(data):
        raise DataError(f"{where} must have the bytes of shape {dims}, got {len(data):,} of them.")
    found.tensors += 1
    if kind in FLOATS:
        found.parameters += math.prod(dims)
        if not np.isfinite(np.frombuffer(data, FLOATS[kind])).all():
            raise DataError(f"{where} must hold finite numbers, got NaN or infinity.")


def _fields(
    raw: memoryview, kind: str, allowed: Collection[int], found: Contents
) -> Iterator[tuple[int, Value]]:
    """Yield the fields of a message, each a number with a whole number or bytes.

    Raises:
        DataError: if the bytes are no message, a field is none of `allowed`, or there are too many.
    """
    place = 0
    while place < len(raw):
        found.fields += 1
        if found.fields > MAX_FIELDS:
            raise DataError(f"{found.name} must have at most {MAX_FIELDS:,} fields, got more.")
        key, place = _varint(raw, place, found)
        number, wire = key >> 3, key & 7
        if number not in allowed:
            what = REFUSED.get((kind, number), f"field {number} of its {kind}")
            raise DataError(f"{found.name} must hold nothing but a plain network, got {what}.")
        if wire == VARINT:
            whole, place = _varint(raw, place, found)
            yield number, whole
            continue
        if wire == BYTES:
            length, place = _varint(raw, place, found)
        elif wire in FIXED:
            length = FIXED[wire]
        else:
            raise _no_onnx(found)
        if length > len(raw) - place:
            raise _no_onnx(found)
        yield number, raw[place : place + length]
        place += length


def _varint(raw: memoryview, place: int, found: Contents) -> tuple[int, int]:
    """Return the whole number at `place`, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(raw):
            break
        byte = raw[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _no_onnx(found)


def _varints(raw: memoryview, found: Contents) -> list[int]:
    values: list[int] = []
    place = 0
    while place < len(raw) and len(values) <= MAX_AXES:
        value, place = _varint(raw, place, found)
        values.append(value)
    return values


def _message(value: Value, found: Contents) -> memoryview:
    if isinstance(value, int):
        raise _no_onnx(found)
    return value


def _text(value: Value, found: Contents) -> str:
    return str(_message(value, found), "utf-8", "backslashreplace")


def _no_onnx(found: Contents) -> DataError:
    return DataError(f"{found.name} must be an ONNX file, got bytes that are none.")
