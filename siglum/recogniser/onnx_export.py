"""Export a bundle as one ONNX file from bytes to calibrated probabilities, with examples.

Shapes: N images, P planes, S the side of the square, K classes, R vectors of them, M background
classes, C vectors of the class that has the most.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from siglum.errors import ConfigError, missing_extra
from siglum.files import write_atomic
from siglum.images.ink import FILL
from siglum.recogniser.bundle import Bundle
from siglum.recogniser.calibration import OLD_BACKGROUND_WEIGHT


def write(bundle: Bundle, out: Path) -> int:
    """Write a new ONNX file, with labels.json and examples in its folder; return its bytes."""
    preprocess = bundle.preprocess
    about = {
        "labels": bundle.classes,
        "outputs": dict(bundle.outputs),
        "size": preprocess.size,
        "planes": preprocess.planes,
        "fill": (preprocess.margins or FILL) if preprocess.cuts_out else None,
    }
    files = {"labels.json": json.dumps(about, ensure_ascii=False, indent=1) + "\n"}
    for path in Path(__file__).with_name("examples").glob("example.*"):
        files[path.name] = path.read_text("utf-8").replace("recogniser.onnx", out.name)
    for path in (out, *map(out.with_name, files)):
        if path.exists():
            raise ConfigError(f"{path} already exists. Export into a new folder.")
    model = to_model(bundle)
    for name, text in files.items():
        write_atomic(out.with_name(name), text)
    write_atomic(out, model)
    return len(model)


def to_model(bundle: Bundle) -> bytes:
    """Return ONNX from `images`, uint8 (N, P, S, S), to `probabilities` (N, K) and `rejected` (N,).

    The prior of size and position has no effect: an image has lost both.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise missing_extra("The export as ONNX", "onnx", "onnx") from None

    model = onnx.load_from_string(bundle.model)
    graph, preprocess, head = model.graph, bundle.preprocess, bundle.head
    network, (result,), side = [*graph.node], (one.name for one in graph.output), preprocess.size
    tensors = {one.name for one in graph.initializer}
    source = next(one.name for one in graph.input if one.name not in tensors)
    for node in network:
        node.input[:] = ["standardised" if name == source else name for name in node.input]
    del graph.node[:], graph.input[:], graph.output[:]

    def constant(value: Any, kind: Any = np.float32) -> str:
        name = f"constant.{len(graph.initializer)}"
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"result.{len(graph.node)}"
        graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    means, divisors = (np.reshape(values, (1, -1, 1, 1)) for values in preprocess.scaling)
    unit = add("Div", add("Cast", "images", to=TensorProto.FLOAT), constant(255))
    add("Div", add("Sub", unit, constant(means)), constant(divisors), output="standardised")
    graph.node.extend(network)
    num_classes, background, nearest = len(bundle.classes), "", ""

    def columns(name: str, *ends: int) -> str:
        return add("Slice", name, *(constant([one], np.int64) for one in (*ends, 1)))

    def reduce(operator: str, name: str, *axes: int) -> str:
        return add(f"Reduce{operator}", name, constant(axes or [1], np.int64), keepdims=0)

    if head is not None:
        counts = np.ones(num_classes, np.int64) if head.mixture is None else head.mixture.counts
        num_rows, num_vectors = int(counts.sum()), len(head.vectors)  # R, R + M
        features = add("LpNormalization", add("Sub", result, constant(head.centre)), axis=1)
        raw = constant(head.vectors.T, head.vectors.dtype)
        vectors = add("Cast", raw, to=TensorProto.FLOAT)
        similarity = add("Mul", add("MatMul", features, vectors), constant(head.scale))
        logits = add("Add", similarity, constant(head.bias))
        result = columns(logits, 0, num_rows)
        if num_vectors > num_rows:
            background = columns(logits, num_rows, num_vectors)
        if head.mixture is not None:
            nearest = reduce("Max", columns(similarity, 0, num_rows))
            # Gather gives (N, K, C); a class with fewer than C vectors repeats others, masked.
            offsets = np.arange(counts.max())
            rows = np.minimum((np.cumsum(counts) - counts)[:, None] + offsets, num_rows - 1)
            mask = constant(np.where(offsets < counts[:, None], 0, -np.inf))
            softness = constant(head.mixture.softness)
            each = add("Gather", result, constant(rows, np.int64), axis=1)
            powers = add("Add", add("Div", each, softness), mask)
            result = add("Mul", reduce("LogSumExp", powers, 2), softness)
    temperature = constant(bundle.calibration.temperature)
    add("Softmax", add("Div", result, temperature), axis=1, output="probabilities")
    rejection, highest = bundle.calibration.rejection, reduce("Max", result)
    if rejection is None or rejection.score == "energy":
        score = add("Neg", add("Add", reduce("LogSumExp", result), nearest or highest))
        if background:  # and one that is orthogonal to every image: 0
            background = add("Pad", background, constant([0, 0, 0, 1], np.int64))
            score = add("Add", score, reduce("LogSumExp", background))
    else:
        score = add("Neg", highest)
        if background:
            weight = constant(OLD_BACKGROUND_WEIGHT)
            score = add("Add", score, add("Mul", reduce("Max", background), weight))
        score = add("Div", score, temperature)
    limit = constant(rejection.values[0] if rejection else np.inf)
    ink = reduce("Max", columns(unit, 0, 1), 1, 2, 3)
    paper = constant(0 if preprocess.cuts_out else -1)  # an image without ink is rejected
    add("Or", add("Greater", score, limit), add("LessOrEqual", ink, paper), output="rejected")
    value = helper.make_tensor_value_info
    shape: list[str | int] = ["N", preprocess.planes, side, side]
    graph.input.append(value("images", TensorProto.UINT8, shape))
    graph.output.append(value("probabilities", TensorProto.FLOAT, ["N", num_classes]))
    graph.output.append(value("rejected", TensorProto.BOOL, ["N"]))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConfigError(f"Cannot export this network: {str(error).splitlines()[0]}.") from None
    return bytes(model.SerializeToString(deterministic=True))
