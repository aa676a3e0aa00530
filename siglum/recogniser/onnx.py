"""Check an ONNX file before onnxruntime sees it, limit what it computes, and run it.

The check walks the protobuf wire format along the messages that a plain network consists of and
refuses everything else: data outside the file, functions, other domains, operators off the list,
nested graphs (and with them loops and branches), training, sparse tensors. onnxruntime then infers
all shapes without computing, and the multiply-adds are counted from those.

Source: the ONNX project's onnx.proto (IR version 10); Google's "Protocol Buffers: Encoding".
Shapes: N images, B in a batch, P planes, S the side of the square, D outputs.
"""

import hashlib
import json
import math
from collections import defaultdict
from importlib import resources
from itertools import count
from threading import Timer
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.errors import DataError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

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

# The operators, and the fields of each message by number, with their names and wire types.
ALLOWED = json.loads(resources.files("siglum.recogniser").joinpath("onnx.json").read_bytes())
VARINT, BYTES, FLOAT = 0, 2, 5  # wire types

Message = defaultdict[str, list[Any]]  # values by field: integers, bytes, messages
Shape = tuple[int, ...]


class Node(NamedTuple):
    """One operation of a network."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    kernel: int  # pixels of a pooling window; else 1


class Network:
    """A checked ONNX network: bytes (N, P, S, S) to float32 (N, D)."""

    def __init__(self, raw: bytes, preprocess: Preprocess) -> None:
        """Check an ONNX file and prepare it.

        Raises:
            DataError: if the file is not allowed, computes too much, or does not take images as
                `preprocess` makes them.
        """
        self._arguments = raw, preprocess
        self.preprocess = preprocess
        trusted = hashlib.sha256(raw).hexdigest() == TRUSTED
        bounded = trusted or _limit_operations(raw, *check(raw))
        # Folding computes constants while loading, without a limit on time.
        disabled = [] if bounded else ["ConstantFolding"]
        self._session = _open(raw, _options(), disabled_optimizers=disabled)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = (preprocess.planes, preprocess.size, preprocess.size)
        if (
            [(one.type, tuple(one.shape[1:])) for one in inputs] != [("tensor(float)", shape)]
            or isinstance(inputs[0].shape[0], int)
            or [(one.type, len(one.shape)) for one in outputs] != [("tensor(float)", 2)]
        ):
            actual = [(one.type, one.shape) for one in (*inputs, *outputs)]
            raise DataError(
                f"The network must take float32 images {['N', *shape]} and return float32 "
                f"[N, D], got {actual}."
            )
        self._input = inputs[0].name
        self.width = self._run_within_limit(np.zeros((1, *shape), np.float32))

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, self._arguments  # scikit-learn copies estimators to other processes

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the outputs (N, D) for images; works in batches, so that memory stays small."""
        size = max(1, BATCH_VALUES // math.prod(images.shape[1:]))
        outputs = [np.empty((0, self.width), np.float32)]
        for start in range(0, len(images), size):
            batch = standardise(images[start : start + size], self.preprocess)
            outputs.append(self._run_batch(batch))
        return np.concatenate(outputs)

    def _run_batch(self, batch: NDArray[np.float32], options: Any = None) -> NDArray[np.float32]:
        try:
            (outputs,) = self._session.run(None, {self._input: batch}, options)
        except Exception as error:  # onnxruntime has a class per error code, below Exception only
            raise DataError(
                f"The network cannot compute {len(batch)} images: {_first_line(error)}."
            ) from None
        if outputs.ndim != 2 or len(outputs) != len(batch) or outputs.dtype != np.float32:
            raise DataError(
                f"The network must return float32 (N, D) for {len(batch)} images, got "
                f"{outputs.dtype} {outputs.shape}."
            )
        return outputs  # type: ignore[no-any-return]

    def _run_within_limit(self, image: NDArray[np.float32]) -> int:
        import onnxruntime

        options = onnxruntime.RunOptions()
        timer = Timer(MAX_SECONDS, lambda: setattr(options, "terminate", True))
        timer.start()
        try:
            return int(self._run_batch(image, options).shape[1])
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


def _options() -> "SessionOptions":
    import onnxruntime  # late: it takes a tenth of a second

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; do not print them, too
    options.enable_cpu_mem_arena = False  # it would keep the memory of the largest batch
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open(raw: bytes, options: "SessionOptions", **more: Any) -> "InferenceSession":
    from onnxruntime import InferenceSession

    try:
        return InferenceSession(raw, options, providers=["CPUExecutionProvider"], **more)
    except Exception as error:
        raise DataError(f"onnxruntime cannot open the network: {_first_line(error)}.") from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    message: str = lines[0].rpartition("] : ")[2]
    return message[:300].rstrip(".")


def _limit_operations(raw: bytes, nodes: list[Node], tensors: dict[str, Shape]) -> bool:
    """Count multiply-adds for one image from inferred shapes; return whether all are known.

    Raises:
        DataError: if there are more than `MAX_OPERATIONS`, as far as shapes are known.
    """
    from onnxruntime import GraphOptimizationLevel

    options = _options()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    for one in _open(raw, options).get_inputs():
        if one.shape and isinstance(one.shape[0], str):
            options.add_free_dimension_override_by_name(one.shape[0], 1)
    inner = dict.fromkeys(output for node in nodes for output in node.outputs if output)
    # Protobuf merges a second graph message into the first; a ValueInfo of a name alone is enough.
    outputs = b"".join(_message(12, _message(1, name.encode())) for name in inner)
    session = _open(raw + _message(7, outputs), options)
    shapes, complete = dict(tensors), True
    for one in (*session.get_inputs(), *session.get_outputs()):
        complete &= all(isinstance(side, int) for side in one.shape)
        shapes[one.name] = tuple(side if isinstance(side, int) else 1 for side in one.shape)
    total = sum(_count_operations(node, shapes) for node in nodes)
    if total > MAX_OPERATIONS:
        raise DataError(
            f"The network computes too much: {total:,} operations per image, at most "
            f"{MAX_OPERATIONS:,} are allowed."
        )
    return complete


def _message(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | BYTES]) + length + bytes([size]) + content


def _count_operations(node: Node, shapes: dict[str, Shape]) -> int:
    inputs = [shapes.get(name, ()) for name in node.inputs]
    output = max((math.prod(shapes.get(name, ())) for name in node.outputs), default=0)
    if node.operator == "Conv" and len(inputs) > 1:
        return output * math.prod(inputs[1][1:])
    if node.operator in ("MatMul", "Gemm") and inputs and inputs[0]:
        return output * max(inputs[0])
    return max(output * node.kernel, *map(math.prod, inputs), 1)


def check(raw: bytes) -> tuple[list[Node], dict[str, Shape]]:
    """Walk through an ONNX file and return its operations and the shapes of its tensors.

    Raises:
        DataError: if it is not ONNX, or contains anything that is not allowed, or a weight that is
            not finite.
    """
    model = _parse(memoryview(raw), "model", count())
    graphs, opsets = model["graph"], model["opset_import"]
    if len(graphs) != 1 or not graphs[0]["node"] or not any(one["version"][-1:] for one in opsets):
        raise DataError("The network must have one graph and an opset.")
    nodes, tensors = [], list(graphs[0]["tensor"])
    for message in graphs[0]["node"]:
        operator, kernel = _text(message["op_type"]), 1
        if operator not in ALLOWED["operators"]:
            raise DataError(f"The network uses the operator {operator[:80]!r}: not allowed.")
        for attribute in message["attribute"]:
            tensors += attribute["tensor"]
            if _text(attribute["name"]) == "kernel_shape":
                kernel = math.prod(attribute["ints"][:MAX_AXES])
        inputs, outputs = ([_text([one]) for one in message[key]] for key in ("input", "output"))
        nodes.append(Node(operator, inputs, outputs, kernel))
    for one in (*opsets, *graphs[0]["node"]):
        if (domain := _text(one["domain"])) not in ("", "ai.onnx"):
            raise DataError(f"The network uses operators of {domain[:80]!r}: not allowed.")
    return nodes, {_text(tensor["name"]): _shape(tensor) for tensor in tensors}


def _parse(raw: memoryview, kind: str, fields: "count[int]") -> Message:
    message: Message = defaultdict(list)
    start = 0
    while start < len(raw):
        if next(fields) == MAX_FIELDS:
            raise DataError(f"The network has more than {MAX_FIELDS:,} fields.")
        key, start = _varint(raw, start)
        name, wire = ALLOWED["fields"][kind].get(str(key >> 3), ("", None))
        if wire != key & 7:
            raise DataError(f"The network must be plain, got field {key >> 3} of its {kind}.")
        size, start = (4, start) if wire == FLOAT else _varint(raw, start)
        if wire == VARINT:
            message[name].append(size)
            continue
        if size > len(raw) - start:
            raise DataError("The network is cut off, or damaged.")
        value, start = raw[start : start + size], start + size
        message[name].append(_parse(value, name, fields) if name in ALLOWED["fields"] else value)
    return message


def _varint(raw: memoryview, start: int) -> tuple[int, int]:
    """Return the integer at `start`, and the position after it."""
    value = 0
    for offset, byte in enumerate(raw[start : start + 10]):
        value |= (byte & 0x7F) << 7 * offset
        if byte < 0x80:
            return value, start + offset + 1
    raise DataError("The network is cut off, or damaged.")


def _shape(tensor: Message) -> Shape:
    """Return a tensor's shape, if it lies in the file, has that many bytes, and is finite."""
    shape = tuple(tensor["dims"])
    kind, data = (tensor["data_type"] or [0])[-1], (tensor["raw_data"] or [b""])[-1]
    problem = ""
    if any(tensor["data_location"]):
        problem = "lies outside the file"
    elif kind not in ITEM_SIZES or len(shape) > MAX_AXES:
        problem = f"has data type {kind} and {len(shape)} axes: not allowed"
    elif math.prod(shape) * ITEM_SIZES[kind] != len(data):
        problem = f"has {len(data):,} bytes, which do not fit its shape {shape}"
    elif kind in FLOATS and not np.isfinite(np.frombuffer(data, FLOATS[kind])).all():
        problem = "contains NaN or infinity"
    if problem:
        raise DataError(f"Tensor {_text(tensor['name'])[:80]!r} of the network {problem}.")
    return shape


def _text(values: list[Any]) -> str:
    return str(values[-1], "utf-8", "backslashreplace") if values else ""
