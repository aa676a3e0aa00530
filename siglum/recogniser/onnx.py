"""Check an ONNX file before onnxruntime sees it, limit what it computes, and run it.

The check walks the protobuf wire format and refuses everything that `onnx.json` does not list: data
outside the file, functions, other domains and operators, nested graphs (and with them loops).
onnxruntime then infers shapes without computing, from which the multiply-adds are counted.

Source: the ONNX project's onnx.proto (IR version 10); Google's "Protocol Buffers: Encoding".
Shapes: N images, B in a batch, P planes, S the side of the square, D outputs.
"""

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.errors import DataError, first_line
from siglum.files import read_json

# The operators, and the fields of each message by number, with their names and types.
ALLOWED = read_json(Path(__file__).with_name("onnx.json"))
# SHA-256 of the network in backbone.siglum, and so in every bundle taught on it. A test runs the
# checks on it, which take longer than opening it.
TRUSTED = "97f0a0bed3ff5d9bd54a760663c3c9dfd362c1836fd61b5912d536f3d3bed384"
MAX_FIELDS = 200_000  # a network of 170 layers has about 5,000
MAX_OPERATIONS = 20e9  # multiply-adds per image: about a second of one core
MAX_SECONDS = 10.0  # for the first image, where not all shapes can be inferred
BATCH_VALUES = 100_000  # of the images in a batch, so that its maps stay in the cache
MAX_THREADS = min(4, os.cpu_count() or 1)  # each takes the memory of a batch
VARINT, BYTES, FLOAT = 0, 2, 5  # wire types

Message = defaultdict[str, list[Any]]  # values by field: integers, text, bytes, messages


class Network:
    """A checked ONNX network: bytes (N, P, S, S), as `preprocess` makes them, to float32 (N, D)."""

    def __init__(self, raw: bytes, preprocess: Preprocess, threads: int = MAX_THREADS) -> None:
        self._raw, self.preprocess, self._threads = raw, preprocess, threads
        shape = (preprocess.planes, preprocess.size, preprocess.size)
        with _data_errors():
            from onnxruntime import RunOptions

            trusted = hashlib.sha256(raw).hexdigest() == TRUSTED
            bounded = trusted or _limit_operations(raw, check(raw))
            # Folding computes constants while loading, without a limit on time.
            self._session = _open(raw, disabled=[] if bounded else ["ConstantFolding"])
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            if (
                [(one.type, tuple(one.shape[1:])) for one in inputs] != [("tensor(float)", shape)]
                or isinstance(inputs[0].shape[0], int)
                or [(one.type, len(one.shape)) for one in outputs] != [("tensor(float)", 2)]
            ):
                actual = [(one.type, one.shape) for one in (*inputs, *outputs)]
                rule = f"take float32 images {['N', *shape]} and return float32 [N, D]"
                raise DataError(f"The network must {rule}, got {actual}.")
            self._input = inputs[0].name
            options = RunOptions()
            timer = Timer(MAX_SECONDS, lambda: setattr(options, "terminate", True))
            timer.start()
            try:
                image = {self._input: np.zeros((1, *shape), np.float32)}
                self.width: int = self._session.run(None, image, options)[0].shape[1]
            finally:
                timer.cancel()

    def __reduce__(self) -> tuple[Any, ...]:
        # Other processes, such as those of scikit-learn, get a copy.
        return Network, (self._raw, self.preprocess, self._threads)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the outputs (N, D) for images; works in batches, so that memory stays small."""
        size = max(1, BATCH_VALUES // math.prod(images.shape[1:]))

        def run(start: int) -> Any:
            batch = standardise(images[start : start + size], self.preprocess)
            return self._session.run(None, {self._input: batch})[0]

        none, starts = np.empty((0, self.width), np.float32), range(0, len(images), size)
        with _data_errors(), ThreadPoolExecutor(self._threads) as pool:
            parallel = self._threads > 1 and len(starts) > 1  # one image starts no thread
            each = pool.map if parallel else map
            return np.concatenate([none, *each(run, starts)])


def standardise(images: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """Turn bytes (B, P, S, S) into the network's input: `(byte / 255 - mean) / std`."""
    mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in preprocess.scaling)
    return (images.astype(np.float32) / np.float32(255.0) - mean) / std


@contextmanager
def _data_errors() -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # onnxruntime has a class per error code, below Exception only
        reason = first_line(error).rpartition("] : ")[2][:300]
        raise DataError(f"onnxruntime cannot run the network: {reason}.") from None


def _open(raw: bytes, single: Sequence[str] | None = None, disabled: Sequence[str] = ()) -> Any:
    """Open a session; with `single`, only to infer shapes where these dimensions are 1."""
    import onnxruntime  # late: it takes a tenth of a second

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; do not print them, too
    options.enable_cpu_mem_arena = False  # it would keep the memory of the largest batch
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if single is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        for name in single:
            options.add_free_dimension_override_by_name(name, 1)
    settings = {"enable_fallback": 0, "disabled_optimizers": list(disabled)}
    return onnxruntime.InferenceSession(raw, options, ["CPUExecutionProvider"], **settings)


def _limit_operations(raw: bytes, graph: Message) -> bool:
    """Count the multiply-adds for one image; return whether all shapes could be inferred."""
    inputs = _open(raw, []).get_inputs()
    names = {name for node in graph["node"] for name in node["output"] if name}
    # Protobuf merges a second graph message into the first; a ValueInfo of a name alone is enough.
    outputs = b"".join(_message(12, _message(1, name.encode())) for name in sorted(names))
    batch = [one.shape[0] for one in inputs if one.shape and isinstance(one.shape[0], str)]
    session = _open(raw + _message(7, outputs), batch)
    shapes = {_last(tensor["name"], ""): tensor["dims"] for tensor in graph["tensor"]}
    complete = True
    for one in (*session.get_inputs(), *session.get_outputs()):
        complete &= all(isinstance(side, int) for side in one.shape)
        shapes[one.name] = [side if isinstance(side, int) else 1 for side in one.shape]
    total = sum(_count_operations(node, shapes) for node in graph["node"])
    if not total <= MAX_OPERATIONS:  # may be NaN
        limit = f"at most {MAX_OPERATIONS:,.0f} are allowed"
        raise DataError(f"The network computes too much: {total:,.0f} per image, {limit}.")
    return complete


def _message(number: int, content: bytes) -> bytes:
    size = len(content)
    length = [size >> shift & 127 | 128 for shift in (0, 7, 14, 21)]
    return bytes([number << 3 | BYTES, *length, size >> 28]) + content


def _count_operations(node: Message, shapes: dict[str, list[int]]) -> float:
    """Count generously; floats, since hostile sizes multiply to integers without end."""
    inputs = [[*map(float, shapes.get(name, ()))] for name in node["input"]]
    output = max(math.prod(map(float, shapes.get(name, ()))) for name in (*node["output"], ""))
    operator = _last(node["op_type"], "")
    if operator == "Conv" and len(inputs) > 1:
        return output * math.prod(inputs[1][1:])
    if operator in ("MatMul", "Gemm") and inputs and inputs[0]:
        return output * max(inputs[0])
    kernels = [one["ints"] for one in node["attribute"] if one["name"] == ["kernel_shape"]]
    window = math.prod(map(float, _last(kernels, [])))
    return max(output * window, *map(math.prod, inputs), 1.0)


def check(raw: bytes) -> Message:
    """Return the graph of an ONNX file; raise DataError if it has anything not allowed."""
    try:
        model = _parse(memoryview(raw), "model", count())
    except (IndexError, UnicodeDecodeError):
        raise DataError("The network is damaged, or has a name that is not UTF-8.") from None
    if len(model["graph"]) != 1:
        raise DataError("The network is not an ONNX file with one graph.")
    graph: Message = model["graph"][0]
    tensors = list(graph["tensor"])
    for node in graph["node"]:
        if (operator := _last(node["op_type"], "")) not in ALLOWED["operators"]:
            raise DataError(f"The network uses the operator {operator[:80]!r}: not allowed.")
        tensors += [tensor for one in node["attribute"] for tensor in one["tensor"]]
    for one in (*model["opset_import"], *graph["node"]):
        if (domain := _last(one["domain"], "")) not in ("", "ai.onnx"):
            raise DataError(f"The network uses operators of {domain[:80]!r}: not allowed.")
    for tensor in tensors:
        if not math.prod(map(float, tensor["dims"])) <= len(_last(tensor["raw_data"], b"")):
            raise DataError("The network has tensors that are larger than their data.")
    return graph


def _parse(raw: memoryview, kind: str, fields: "count[int]") -> Message:
    message: Message = defaultdict(list)
    start = 0
    while start < len(raw):
        if next(fields) == MAX_FIELDS:
            raise DataError(f"The network has more than {MAX_FIELDS:,} fields.")
        key, start = _varint(raw, start)
        name, form = ALLOWED[kind].get(str(key >> 3), ("", ""))
        wire = {"int": VARINT, "float": FLOAT, "": None}.get(form, BYTES)
        if wire != key & 7:
            raise DataError(f"The network must be plain, got field {key >> 3} of its {kind}.")
        size, start = (4, start) if wire == FLOAT else _varint(raw, start)
        if wire == VARINT:
            message[name].append(size)
            continue
        value, start = raw[start : start + size], start + size
        if start > len(raw):
            raise IndexError
        if form in ALLOWED:
            message[name].append(_parse(value, form, fields))
        else:
            message[name].append(str(value, "utf-8") if form == "text" else value)
    return message


def _varint(raw: memoryview, start: int) -> tuple[int, int]:
    """Return the integer at `start`, and the position after it."""
    value = 0
    for offset in range(10):
        byte = raw[start + offset]
        value |= (byte & 0x7F) << 7 * offset
        if byte < 0x80:
            return value, start + offset + 1
    raise IndexError


def _last(values: list[Any], default: Any) -> Any:
    """Return a field's value: protobuf lets the last one count."""
    return values[-1] if values else default
