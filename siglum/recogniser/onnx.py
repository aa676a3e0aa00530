"""Check an ONNX file before onnxruntime sees it, limit what it computes, and run it.

The check walks the protobuf wire format along the messages that a plain network consists of and
refuses everything else: data outside the file, functions, other domains, operators off the list,
nested graphs (and with them loops and branches), training, sparse tensors. onnxruntime then infers
all shapes without computing, and the multiply-adds are counted from those.

Source: the ONNX project's onnx.proto (IR version 10); Google's "Protocol Buffers: Encoding".
Shapes: N images, B in a batch, P planes, S the side of the square, D outputs.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from threading import Timer
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.errors import DataError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

_NAMES = """
Abs Add AveragePool BatchNormalization Cast Clip Concat Constant Conv Div Dropout Elu Erf Expand
Flatten Gather Gelu Gemm GlobalAveragePool GlobalMaxPool GroupNormalization HardSigmoid HardSwish
Identity InstanceNormalization LayerNormalization LeakyRelu LogSoftmax MatMul Max MaxPool Mean Min
Mul Neg PRelu Pad Pow Reciprocal ReduceL2 ReduceMax ReduceMean ReduceSum ReduceSumSquare Relu
Reshape Selu Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Transpose
Unsqueeze
"""
OPERATORS = frozenset(_NAMES.split())
# SHA-256 of the network in backbone.siglum, and so in every bundle taught on it. A test runs the
# checks on it, which take longer than opening it.
TRUSTED = "074d01e0e7ecd09bcdd77048d4406d6eafbeacadf97b9fb24155be7c8ae989c0"
MAX_FIELDS = 200_000  # a network of 170 layers has about 5,000
MAX_AXES = 8
MAX_OPERATIONS = 20_000_000_000  # multiply-adds per image: about a second of one core
MAX_SECONDS = 10.0  # for the first image, where not all shapes can be inferred
BATCH_VALUES = 250_000  # of the images in a batch: the widest layers have about 30 times as many

ITEM_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}  # bytes, by TensorProto.DataType
FLOATS = {1: "<f4", 10: "<f2", 11: "<f8"}
VARINT, BYTES, FIXED = 0, 2, {1: 8, 5: 4}  # wire types, and the bytes of the fixed ones

# The fields that each message may have, by number, as onnx.proto names them, and their types.
INTEGER, DATA, ANY = "integer", "data", "any"
MESSAGES = {
    # ir_version, producer_name, producer_version, domain, model_version, doc_string, ...
    "model": {1: INTEGER, 2: DATA, 3: DATA, 4: DATA, 5: INTEGER, 6: DATA, 7: "graph", 8: "opset"},
    "opset": {1: DATA, 2: INTEGER},  # domain, version
    # node, name, initializer, doc_string, input, output
    "graph": {1: "node", 2: DATA, 5: "tensor", 10: DATA, 11: DATA, 12: DATA},
    # input, output, name, op_type, attribute, doc_string, domain
    "node": {1: DATA, 2: DATA, 3: DATA, 4: DATA, 5: "attribute", 6: DATA, 7: DATA},
    # name, f, i, s, t, floats, ints, strings, doc_string, type
    "attribute": dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20), ANY) | {1: DATA, 5: "tensor"},
    # dims, data_type, name, raw_data, doc_string, data_location
    "tensor": {1: ANY, 2: INTEGER, 8: DATA, 9: DATA, 12: DATA, 14: INTEGER},
}
REFUSED = {
    ("model", 14): "metadata",
    ("model", 20): "training",
    ("model", 25): "functions",
    ("graph", 13): "declared shapes",
    ("graph", 14): "quantization annotations",
    ("graph", 15): "sparse tensors",
    ("attribute", 6): "a graph within the graph",
    ("attribute", 11): "graphs within the graph",
    ("attribute", 22): "sparse tensors",
    ("attribute", 23): "sparse tensors",
    ("tensor", 13): "data outside the file",
}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """One operation of a network."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    kernel: int = 1  # pixels of a pooling window


class Network:
    """A checked ONNX network: bytes (N, P, S, S) to float32 (N, D)."""

    def __init__(
        self, raw: bytes, preprocess: Preprocess, threads: int = 1, name: str = "model.onnx"
    ) -> None:
        """Check an ONNX file and prepare it.

        Args:
            threads: CPU threads; 0 for one per core.
            name: of the file, for messages.

        Raises:
            DataError: if the file is not allowed, computes too much, or does not take images as
                `preprocess` makes them.
        """
        self._arguments = raw, preprocess, threads, name
        self.preprocess, self._name = preprocess, name
        trusted = hashlib.sha256(raw).hexdigest() == TRUSTED
        known = trusted or _limit_operations(raw, *check(raw, name), name)
        # Folding computes constants while loading, without a limit on time.
        disabled = [] if known else ["ConstantFolding"]
        self._session = _open(raw, _options(threads), name, disabled_optimizers=disabled)
        self._input = _only_input(self._session, preprocess, name)
        if not known:
            self._run_within_limit()

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, self._arguments  # scikit-learn copies estimators to other processes

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the outputs (N, D) for bytes (N, P, S, S), N at least 1.

        Works in batches, so that memory does not grow with N.
        """
        size = max(1, BATCH_VALUES // math.prod(images.shape[1:]))
        return np.concatenate(
            [
                self._run_batch(standardise(images[start : start + size], self.preprocess))
                for start in range(0, len(images), size)
            ]
        )

    def _run_batch(self, batch: NDArray[np.float32], options: Any = None) -> NDArray[np.float32]:
        try:
            (outputs,) = self._session.run(None, {self._input: batch}, options)
        except Exception as error:  # onnxruntime has a class per error code, below Exception only
            raise DataError(
                f"{self._name} cannot compute {len(batch)} images: {_first_line(error)}."
            ) from None
        if outputs.ndim != 2 or len(outputs) != len(batch) or outputs.dtype != np.float32:
            raise DataError(
                f"{self._name} must return float32 (N, D) for {len(batch)} images, got "
                f"{outputs.dtype} {outputs.shape}."
            )
        return outputs  # type: ignore[no-any-return]

    def _run_within_limit(self) -> None:
        import onnxruntime

        options = onnxruntime.RunOptions()
        timer = Timer(MAX_SECONDS, lambda: setattr(options, "terminate", True))
        timer.start()
        size = self.preprocess.size
        try:
            self._run_batch(np.zeros((1, self.preprocess.planes, size, size), np.float32), options)
        finally:
            timer.cancel()


def standardise(images: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """Turn bytes (B, P, S, S) into the network's input: `(byte / 255 - mean) / std`."""
    mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in preprocess.scaling)
    scaled = images.astype(np.float32)
    scaled /= 255
    scaled -= mean
    scaled /= std
    return scaled


def _options(threads: int) -> "SessionOptions":
    import onnxruntime  # late: it takes a tenth of a second

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; do not print them, too
    options.enable_cpu_mem_arena = False  # it would keep the memory of the largest batch
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open(raw: bytes, options: "SessionOptions", name: str, **more: Any) -> "InferenceSession":
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(
            raw, options, providers=["CPUExecutionProvider"], **more
        )
    except Exception as error:
        raise DataError(
            f"onnxruntime {onnxruntime.__version__} cannot open {name}: {_first_line(error)}."
        ) from None


def _only_input(session: "InferenceSession", preprocess: Preprocess, name: str) -> str:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    expected = [preprocess.planes, preprocess.size, preprocess.size]
    actual = [(one.type, one.shape) for one in inputs]
    free = len(actual) == 1 and actual[0][1] and not isinstance(actual[0][1][0], int)
    if not free or actual[0][0] != "tensor(float)" or actual[0][1][1:] != expected:
        raise DataError(f"{name} must take float32 images {['N', *expected]}, got {actual}.")
    if len(outputs) != 1 or outputs[0].type != "tensor(float)" or len(outputs[0].shape) != 2:
        actual = [(one.type, one.shape) for one in outputs]
        raise DataError(f"{name} must return float32 [N, D], got {actual}.")
    return str(inputs[0].name)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    message: str = lines[0].rpartition("] : ")[2]
    return message[:300].rstrip(".")


def _limit_operations(raw: bytes, nodes: list[Node], tensors: dict[str, Shape], name: str) -> bool:
    """Count multiply-adds for one image from inferred shapes; return whether all are known.

    Raises:
        DataError: if there are more than `MAX_OPERATIONS`, as far as shapes are known.
    """
    import onnxruntime

    options = _options(1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for one in _open(raw, options, name).get_inputs():
        if one.shape and isinstance(one.shape[0], str):
            options.add_free_dimension_override_by_name(one.shape[0], 1)
    inner = [output for node in nodes for output in node.outputs if output]
    # Protobuf merges a second graph message into the first; a ValueInfo of a name alone is enough.
    outputs = b"".join(_message(12, _message(1, value.encode())) for value in dict.fromkeys(inner))
    session = _open(raw + _message(7, outputs), options, name)
    shapes, known = dict(tensors), True
    for one in (*session.get_inputs(), *session.get_outputs()):
        known &= all(isinstance(side, int) for side in one.shape)
        shapes[one.name] = tuple(side if isinstance(side, int) else 1 for side in one.shape)
    total = sum(_count_operations(node, shapes) for node in nodes)
    if total > MAX_OPERATIONS:
        raise DataError(
            f"{name} computes too much: {total:,} operations per image, at most "
            f"{MAX_OPERATIONS:,} are allowed."
        )
    return known


def _message(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | BYTES]) + length + bytes([size]) + content


def _count_operations(node: Node, shapes: dict[str, Shape]) -> int:
    inputs = [shapes.get(name, ()) for name in node.inputs]
    output = max((math.prod(shapes.get(name, ())) for name in node.outputs), default=0)
    first = inputs[0] if inputs else ()
    if node.operator == "Conv" and len(inputs) > 1:
        return output * math.prod(inputs[1][1:])
    if node.operator in ("MatMul", "Gemm") and first:
        return output * max(first)
    return max(output * node.kernel, *map(math.prod, inputs), 1)


def check(raw: bytes, name: str = "model.onnx") -> tuple[list[Node], dict[str, Shape]]:
    """Walk through an ONNX file and return its operations and the shapes of its tensors.

    Raises:
        DataError: if it is not ONNX, or contains anything that is not allowed, or a weight that is
            not finite.
    """
    reader = _Reader(name)
    model = reader.parse(memoryview(raw), "model")
    graphs, versions = model.get(7, []), [opset.get(2, [0])[-1] for opset in model.get(8, [])]
    if len(graphs) != 1 or not graphs[0].get(1) or not any(versions):
        raise DataError(f"{name} must have one graph and an opset.")
    nodes = []
    tensors = list(graphs[0].get(5, []))
    for message in graphs[0][1]:
        node = Node(_text(message, 4), _texts(message, 1), _texts(message, 2))
        if node.operator not in OPERATORS:
            raise DataError(
                f"{name} uses the operator {node.operator[:80]!r}, which is not allowed. "
                f"Allowed are {', '.join(sorted(OPERATORS))}."
            )
        for attribute in message.get(5, []):
            tensors += attribute.get(5, [])
            if _text(attribute, 1) == "kernel_shape":
                node = replace(node, kernel=math.prod(reader.integers(attribute.get(8, []))))
        nodes.append(node)
    domains = [_text(one, 1) for one in model[8]] + [_text(one, 7) for one in graphs[0][1]]
    if foreign := [domain for domain in domains if domain not in ("", "ai.onnx")]:
        raise DataError(f"{name} must use ONNX's own operators, got domain {foreign[0][:80]!r}.")
    return nodes, {_text(tensor, 8): reader.shape(tensor) for tensor in tensors}


class _Reader:
    """Reads protobuf messages of one file by the fields that `MESSAGES` allows."""

    def __init__(self, name: str) -> None:
        self.name, self.fields = name, 0

    def parse(self, raw: memoryview, kind: str) -> dict[int, list[Any]]:
        """Return a message's values by field: integers, bytes and messages of the same form."""
        message: dict[int, list[Any]] = {}
        start = 0
        while start < len(raw):
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise DataError(f"{self.name} has more than {MAX_FIELDS:,} fields.")
            key, start = self.varint(raw, start)
            number, wire = key >> 3, key & 7
            if number not in MESSAGES[kind]:
                content = REFUSED.get((kind, number), f"field {number} of its {kind}")
                raise DataError(f"{self.name} must be a plain network, got {content}.")
            value: Any
            if wire == VARINT:
                value, start = self.varint(raw, start)
            else:
                length, start = (
                    self.varint(raw, start) if wire == BYTES else (FIXED.get(wire, -1), start)
                )
                if not 0 <= length <= len(raw) - start:
                    raise self.damaged()
                value, start = raw[start : start + length], start + length
            expected = MESSAGES[kind][number]
            if (expected == INTEGER) != (wire == VARINT) and expected != ANY:
                raise self.damaged()
            if expected in MESSAGES:
                value = self.parse(value, expected)
            message.setdefault(number, []).append(value)
        return message

    def varint(self, raw: memoryview, start: int) -> tuple[int, int]:
        """Return the integer at `start`, and the position after it."""
        value = 0
        for offset, byte in enumerate(raw[start : start + 10]):
            value |= (byte & 0x7F) << 7 * offset
            if byte < 0x80:
                return value, start + offset + 1
        raise self.damaged()

    def integers(self, values: list[Any]) -> list[int]:
        """Return repeated integers, packed or not; at most one more than an array has axes."""
        integers: list[int] = []
        for value in values[: MAX_AXES + 1]:
            if isinstance(value, int):
                integers.append(value)
                continue
            start = 0
            while start < len(value) and len(integers) <= MAX_AXES:
                one, start = self.varint(value, start)
                integers.append(one)
        return integers

    def shape(self, tensor: dict[int, list[Any]]) -> Shape:
        """Return a tensor's shape, if it lies in the file, has that many bytes, and is finite."""
        label = f"Tensor {_text(tensor, 8)[:80]!r} of {self.name}"
        shape = tuple(self.integers(tensor.get(1, [])))
        kind, data = tensor.get(2, [0])[-1], tensor.get(9, [b""])[-1]
        if any(tensor.get(14, [])):
            raise DataError(f"{label} lies outside the file.")
        if kind not in ITEM_SIZES or len(shape) > MAX_AXES:
            raise DataError(f"{label} has data type {kind} and {len(shape)} axes: not allowed.")
        if math.prod(shape) * ITEM_SIZES[kind] != len(data):
            raise DataError(f"{label} has {len(data):,} bytes, which do not fit its shape {shape}.")
        if kind in FLOATS and not np.isfinite(np.frombuffer(data, FLOATS[kind])).all():
            raise DataError(f"{label} contains NaN or infinity.")
        return shape

    def damaged(self) -> DataError:
        """Return the error for bytes that are not ONNX."""
        return DataError(f"{self.name} is not an ONNX file, or damaged.")


def _texts(message: dict[int, list[Any]], number: int) -> list[str]:
    return [str(value, "utf-8", "backslashreplace") for value in message.get(number, [])]


def _text(message: dict[int, list[Any]], number: int) -> str:
    return next(reversed(_texts(message, number)), "")
