"""Export a bundle as one ONNX file from bytes to calibrated probabilities, with examples.

Shapes: N images, P planes, S the side of the square, K classes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from siglum.errors import ConfigError, require_extra
from siglum.files import write_atomic
from siglum.images.ink import FILL
from siglum.recogniser.bundle import Bundle


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
    model = to_model(bundle)
    labels = json.dumps(about, ensure_ascii=False, indent=1) + "\n"
    files: dict[Path, bytes | str] = {out: model, out.with_name("labels.json"): labels}
    for path in Path(__file__).with_name("examples").glob("example.*"):
        text = path.read_text("utf-8").replace("recogniser.onnx", out.name)
        files[out.with_name(path.name)] = text
    for path in files:
        if path.exists():
            raise ConfigError(f"{path} already exists. Export into a new folder.")
    for path, content in files.items():
        write_atomic(path, content)
    return len(model)


def to_model(bundle: Bundle) -> bytes:
    """Return ONNX from `images`, uint8 (N, P, S, S), to `probabilities` (N, K) and `rejected` (N,).

    The prior of size and position has no effect: an image has lost both.
    """
    with require_extra("The export as ONNX", "onnx"):
        import onnx
        from onnx import TensorProto, helper, numpy_helper

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

    def reduce(operator: str, name: str, *axes: int, keepdims: int = 0) -> str:
        return add(f"Reduce{operator}", name, constant(axes or [1], np.int64), keepdims=keepdims)

    if head is not None:
        num_rows = num_classes if head.mixture is None else int(head.mixture.counts.sum())
        features = add("LpNormalization", add("Sub", result, constant(head.centre)), axis=1)
        # The last vector is a background class that is orthogonal to every image.
        rows = constant(np.pad(head.vectors, ((0, 1), (0, 0))).T, head.vectors.dtype)
        vectors = add("Cast", rows, to=TensorProto.FLOAT)
        scale, bias = (constant(np.append(one, 0)) for one in (head.scale, head.bias))
        similarity = add("Mul", add("MatMul", features, vectors), scale)
        logits = add("Add", similarity, bias)
        result = columns(logits, 0, num_rows)
        background = reduce("LogSumExp", columns(logits, num_rows, len(head.vectors) + 1))
        if head.mixture is not None:
            nearest = reduce("Max", columns(similarity, 0, num_rows))
            softness, highest = constant(head.mixture.softness), reduce("Max", result, keepdims=1)
            powers = add("Exp", add("Div", add("Sub", result, highest), softness))
            members = constant(np.repeat(np.eye(num_classes), head.mixture.counts, axis=0), bool)
            sums = add("MatMul", powers, add("Cast", members, to=TensorProto.FLOAT))  # (N, K)
            result = add("Add", add("Mul", add("Log", sums), softness), highest)
    temperature = constant(bundle.calibration.temperature)
    add("Softmax", add("Div", result, temperature), axis=1, output="probabilities")
    likelihood = add("Add", reduce("LogSumExp", result), nearest or reduce("Max", result))
    score = add("Sub", background or constant(0), likelihood)
    rejection = bundle.calibration.rejection
    limit = constant(rejection.values[0] if rejection else np.inf)
    ink = reduce("Max", columns(unit, 0, 1), 1, 2, 3)
    paper = constant(0 if preprocess.cuts_out else -1)  # an image without ink is rejected
    add("Or", add("Greater", score, limit), add("LessOrEqual", ink, paper), output="rejected")
    value = helper.make_tensor_value_info
    graph.input.append(value("images", TensorProto.UINT8, ["N", preprocess.planes, side, side]))
    graph.output.append(value("probabilities", TensorProto.FLOAT, ["N", num_classes]))
    graph.output.append(value("rejected", TensorProto.BOOL, ["N"]))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConfigError(f"Cannot export this network: {str(error).splitlines()[0]}.") from None
    return bytes(model.SerializeToString(deterministic=True))
