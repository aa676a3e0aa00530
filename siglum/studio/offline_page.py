"""Export a bundle as one HTML page that recognises drawings by itself, without a server.

The page holds the network as steps of a few ONNX operators. Its weights stay 8-bit integers with a
scale per row where they are; others are stored in half precision. The vectors of the head become
8-bit integers.
"""

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from siglum.errors import ConfigError
from siglum.files import write_atomic
from siglum.formatting import rate_and_interval
from siglum.images import characters
from siglum.images import outputs as class_outputs
from siglum.images.ink import FILL
from siglum.recogniser import onnx
from siglum.recogniser.bundle import Bundle
from siglum.recogniser.calibration import OLD_BACKGROUND_WEIGHT, describe
from siglum.recogniser.prototype_head import to_int8

FOLDER = Path(__file__).with_name("offline")
SITE = ("../page/icon.svg", "icon.png", "manifest.webmanifest", "sw.js")  # beside index.html
WORKER = ("raster.js", "ink.js", "network.js", "recognise.js", "worker.js")
PAGE = ("../page/dom.js", "../page/message.js", "../page/pad.js", "../page/theme.js", "main.js")

TYPES = {1: "<f4", 3: "<i1", 7: "<i8", 10: "<f2"}  # of ONNX's constants
# With the attributes that the page does not know, and their only allowed values.
OPERATORS: dict[str, dict[str, Any]] = {
    "Add": {},
    "BatchNormalization": {"training_mode": 0},
    "Clip": {},
    "Concat": {},
    "Conv": {"auto_pad": "NOTSET", "dilations": [1, 1], "group": 1},
    "Div": {},
    "Expand": {},
    "Flatten": {"axis": 1},
    "Gemm": {"transA": 0, "transB": 1, "alpha": 1.0, "beta": 1.0},
    "Max": {},
    "MaxPool": {"auto_pad": "NOTSET", "ceil_mode": 0, "dilations": [1, 1], "storage_order": 0},
    "ReduceL2": {"keepdims": 1, "noop_with_empty_axes": 0},
    "Relu": {},
    "Reshape": {},
    "Shape": {},
    "Sub": {},
}
ATTRIBUTES = ("end", "epsilon", "kernel_shape", "pads", "start", "strides")  # that the page knows
ALIASES = ("Cast", "Dropout", "Identity")  # change nothing but the type

Arrays = dict[str, NDArray[Any]]


def write(bundle: Bundle, out: Path) -> int:
    """Write a new HTML file, or without a suffix a new folder for a web host; return its bytes."""
    if out.exists():
        raise ConfigError(f"{out} already exists. Choose another name with -o.")
    page = render(bundle, installable=not out.suffix)
    if out.suffix:
        write_atomic(out, page)
        return len(page)
    version = hashlib.sha256(page).hexdigest()[:16]
    for name in SITE:
        data = (FOLDER / name).read_bytes()
        if name in ("manifest.webmanifest", "sw.js"):
            template = jinja2.Template(data.decode())
            data = template.render(title=bundle.card.title or "Signs", version=version).encode()
        write_atomic(out / Path(name).name, data)
    write_atomic(out / "index.html", page)
    return len(page)


def render(bundle: Bundle, installable: bool = False) -> bytes:
    """Return the page; raise ConfigError if it cannot compute the bundle's network."""
    preprocess, head, calibration = bundle.preprocess, bundle.head, bundle.calibration
    if preprocess.channels != 1 or not preprocess.cuts_out:
        remedy = "Teach one, or train with --resize glyph"
        raise ConfigError(f"A page needs a recogniser that extracts ink. {remedy}.")
    steps, arrays, scales = read_network(bundle.model)
    model: dict[str, Any] = {
        "classes": [_describe_class(name, bundle) for name in bundle.classes],
        "network": {"input": steps[0]["inputs"][0], "steps": steps},
        "size": preprocess.size,
        "fill": preprocess.margins or FILL,
        "scaling": [*zip(*preprocess.scaling, strict=True)],
        "calibration": calibration.model_dump() | {"old_background_weight": OLD_BACKGROUND_WEIGHT},
    }
    if head is not None:
        model["head"] = {}
        names = ("vectors", "scale", "bias", "centre")
        arrays |= {f"head.{name}": getattr(head, name) for name in names}
        if head.vectors.dtype != np.int8:
            arrays["head.vectors"], scales["head.vectors"] = to_int8(head.vectors)
        if (mixture := head.mixture) is not None:
            counts = mixture.counts.tolist()
            model["head"]["mixture"] = {"counts": counts, "softness": mixture.softness}
        if (prior := head.position) is not None:
            model["head"]["gain"] = prior.gain
            arrays |= {"position.mean": prior.mean, "position.std": prior.std}
    model["arrays"], weights = pack(arrays, scales)
    script = join_scripts(PAGE)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_read("index.html"))
    return template.render(
        title=bundle.card.title or "Signs",
        installable=installable,
        facts=_facts(bundle),
        icon=_base64((FOLDER / "../page/icon.svg").read_bytes()),
        style=Markup(_read("../page/style.css") + _read("page.css")),
        model=Markup(json.dumps(model, ensure_ascii=False).replace("<", "\\u003c")),
        kernel=_base64((FOLDER / "kernel.wasm").read_bytes()),
        weights=_base64(gzip.compress(weights, mtime=0)),
        worker=Markup(join_scripts(WORKER)),
        script=Markup(script),
        hash=f"sha256-{_base64(hashlib.sha256(script.encode()).digest())}",
    ).encode()


def _describe_class(name: str, bundle: Bundle) -> dict[str, Any]:
    output = bundle.outputs.get(name, name)
    texts = {kind: class_outputs.write(name, output, kind) for kind in characters.FORMATS}
    codes = {kind: text for kind, text in texts.items() if text != output}
    return {"name": name, "output": output, **({"codes": codes} if codes else {})}


def _facts(bundle: Bundle) -> list[str]:
    rates = bundle.card.measured.items()
    accuracies = [f"Accuracy ({part}): {rate_and_interval(rate)}." for part, rate in rates]
    unknown = "No drawings were measured: its accuracy on your handwriting is unknown."
    return [*(accuracies or [unknown]), *describe(bundle.calibration)]


def read_network(raw: bytes) -> tuple[list[dict[str, Any]], Arrays, Arrays]:
    """Return the steps of an ONNX network for the page, its constants, and the scales of some."""
    graph = onnx.check(raw)
    constants = {tensor["name"][-1]: _read_tensor(tensor) for tensor in graph["tensor"]}
    scales: Arrays = {}
    aliases: dict[str, str] = {}
    steps = []
    for node in graph["node"]:
        operator, output = node["op_type"][-1], node["output"][0]
        inputs = [aliases.get(name, name) for name in node["input"]]
        if operator in ALIASES:
            aliases[output] = inputs[0]
            continue
        operands = [constants.get(name) for name in inputs]
        if operator == "Mul" and _are_scaled(*operands):
            constants[output], scales[output] = (constants[name] for name in inputs)
            continue
        attributes = {one["name"][-1]: _read_attribute(one) for one in node["attribute"]}
        if operator == "Gemm" and not attributes.get("transB") and operands[1] is not None:
            inputs[1], attributes["transB"] = f"{inputs[1]}.transposed", 1
            constants[inputs[1]] = operands[1].T
        _check_step(operator, attributes, operands)
        attributes = {name: attributes[name] for name in ATTRIBUTES if name in attributes}
        inputs = inputs[:1] if operator in ("ReduceL2", "Reshape") else inputs
        step = {"operator": operator, "inputs": inputs, "output": output, "attributes": attributes}
        steps.append(step)
    used = {name for step in steps for name in step["inputs"]}
    return steps, {name: array for name, array in constants.items() if name in used}, scales


def _are_scaled(weights: NDArray[Any] | None, scale: NDArray[Any] | None) -> bool:
    """Return whether the operands of a product are 8-bit weights and a scale per row."""
    if weights is None or scale is None:
        return False
    return weights.dtype == np.int8 and scale.shape == weights.shape[:1] + (1,) * (weights.ndim - 1)


def _check_step(operator: str, attributes: dict[str, Any], operands: list[Any]) -> None:
    allowed = OPERATORS.get(operator)
    fits = allowed is not None and all(
        attributes.get(name, allowed[name]) == allowed[name] for name in allowed
    )
    constants = [operand for operand in operands if operand is not None]
    fits &= operator != "Gemm" or "transB" in attributes
    fits &= operator != "Reshape" or [array.shape for array in constants] == [(2,)]  # flattens
    fits &= operator != "ReduceL2" or [array.tolist() for array in constants] == [[1]]
    if operator in ("Add", "Concat", "Div", "Max", "Sub"):
        fits &= all(array.ndim < 2 for array in constants)
    if operator == "Concat":  # along axis 0 only shapes are joined, with a constant
        fits &= attributes["axis"] == (0 if constants else 1)
    else:
        fits &= operands[0] is None
    if not fits:
        settings = ", ".join(f"{name} {value}" for name, value in attributes.items())
        raise ConfigError(
            f"A page cannot compute the operator {operator} ({settings}) of this network. "
            "Export it as ONNX: -o NAME.onnx"
        )


def _read_tensor(tensor: Any) -> NDArray[Any]:
    kind = TYPES.get(tensor["data_type"][-1])
    if kind is None:
        raise ConfigError("A page cannot compute this network: a constant is no float or integer.")
    return np.frombuffer(tensor["raw_data"][-1], kind).reshape(tensor["dims"])


def _read_attribute(attribute: Any) -> Any:
    if attribute["f"]:
        return float(np.frombuffer(attribute["f"][-1], "<f4")[0])
    text = [bytes(value).decode("utf-8", "replace") for value in attribute["s"]]
    return attribute["ints"] or (*attribute["i"], *text, None)[0]


def pack(arrays: Arrays, scales: Arrays) -> tuple[dict[str, dict[str, Any]], bytes]:
    """Return a table of arrays, and their bytes: matrices of 16 bits, or of 8 with scales."""
    table, data = {}, bytearray()

    def add(array: NDArray[Any], kind: str) -> int:
        data.extend(array.astype(np.dtype(kind).newbyteorder("<")).tobytes())
        return len(data) - array.size * np.dtype(kind).itemsize

    for name, array in arrays.items():
        is_vector = array.ndim < 2 or np.abs(array).max() > np.finfo(np.float16).max
        kind = "int8" if array.dtype == np.int8 else "float32" if is_vector else "float16"
        table[name] = {"shape": array.shape, "type": kind, "start": add(array, kind)}
        if name in scales:
            table[name]["scales"] = add(scales[name], "float32")
    return table, bytes(data)


def join_scripts(names: tuple[str, ...]) -> str:
    """Join modules to one script: each comes after those that it imports."""
    text = "\n".join(map(_read, names))
    text = re.sub(r"^import\b[^;]*;\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^export (?=async|class|const|function|let)", "", text, flags=re.MULTILINE)


def _read(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
