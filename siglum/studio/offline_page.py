"""Export a bundle as one HTML page that recognises drawings by itself, without a server.

The page holds the network as steps of a few ONNX operators. Matrices are stored as 8-bit integers
where the bundle has those, else in half precision; the vectors of the head become 8-bit integers.
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
from siglum.formatting import rate_and_interval, render_template
from siglum.images import characters
from siglum.images.ink import FILL
from siglum.recogniser import onnx
from siglum.recogniser.bundle import Bundle
from siglum.recogniser.calibration import describe
from siglum.recogniser.head import to_int8

FOLDER = Path(__file__).with_name("offline")
WORKER = ("raster.js", "ink.js", "network.js", "recognise.js", "worker.js")
PAGE = ("../page/dom.js", "../page/message.js", "../page/pad.js", "../page/theme.js", "main.js")

TYPES = {1: "<f4", 3: "<i1", 7: "<i8", 10: "<f2"}  # of ONNX's constants
OPERATORS = {
    *("Add", "BatchNormalization", "Clip", "Concat", "Conv", "Div", "Expand", "Flatten", "Gemm"),
    *("Max", "MaxPool", "Mul", "ReduceL2", "Relu", "Reshape", "Shape", "Sub"),
}
# Attributes of which the page computes one value only.
ATTRIBUTES: dict[str, Any] = {"alpha": 1.0, "beta": 1.0, "keepdims": 1, "transA": 0}
ATTRIBUTES |= {"auto_pad": "NOTSET", "ceil_mode": 0, "dilations": [1, 1], "group": 1}
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
    title, version = bundle.card.title or "Signs", hashlib.sha256(page).hexdigest()[:16]
    for name in ("manifest.webmanifest", "sw.js"):
        write_atomic(out / name, jinja2.Template(_read(name)).render(title=title, version=version))
    for name in ("../page/icon.svg", "icon.png"):
        write_atomic(out / Path(name).name, (FOLDER / name).read_bytes())
    write_atomic(out / "index.html", page)
    return len(page)


def render(bundle: Bundle, installable: bool = False) -> bytes:
    """Return the page; raise ConfigError if it cannot compute the bundle's network."""
    preprocess, head = bundle.preprocess, bundle.head
    if preprocess.channels != 1 or not preprocess.cuts_out:
        remedy = "Teach one, or train with --resize glyph"
        raise ConfigError(f"A page needs a recogniser that extracts ink. {remedy}.")
    steps, arrays = read_network(bundle.model)
    classes = []
    for name in bundle.classes:
        output = bundle.outputs.get(name, name)
        texts = {kind: characters.output_as(name, output, kind) for kind in characters.FORMATS}
        classes.append({"name": name, "texts": texts})
    model: dict[str, Any] = {
        "classes": classes,
        "steps": steps,
        "size": preprocess.size,
        "fill": preprocess.margins or FILL,
        "scaling": [*zip(*preprocess.scaling, strict=True)],
        "calibration": bundle.calibration.model_dump(),
    }
    if head is not None:
        vectors, factors = to_int8(head.vectors)
        arrays |= {"head.vectors": vectors, "head.scale": head.scale * factors}
        arrays |= {"head.bias": head.bias, "head.centre": head.centre}
        if (mixture := head.mixture) is not None:
            model["mixture"] = {"counts": mixture.counts.tolist(), "softness": mixture.softness}
        if (prior := head.position) is not None:
            model["gain"] = prior.gain
            arrays |= {"position.mean": prior.mean, "position.std": prior.std}
    model["arrays"], weights = pack(arrays)
    rates = bundle.card.measured.items()
    accuracies = [f"Accuracy ({part}): {rate_and_interval(rate)}." for part, rate in rates]
    unknown = "No drawings were measured: its accuracy on your handwriting is unknown."
    script = join_scripts(PAGE)
    page = render_template(
        "siglum.studio",
        "offline/index.html",
        title=bundle.card.title or "Signs",
        installable=installable,
        facts=[*(accuracies or [unknown]), *describe(bundle.calibration)],
        icon=_base64((FOLDER / "../page/icon.svg").read_bytes()),
        model=Markup(json.dumps(model, ensure_ascii=False).replace("<", "\\u003c")),
        kernel=_base85((FOLDER / "kernel.wasm").read_bytes()),
        weights=_base85(gzip.compress(weights, mtime=0)),
        worker=Markup(join_scripts(WORKER)),
        script=Markup(script),
        hash=f"sha256-{_base64(hashlib.sha256(script.encode()).digest())}",
    )
    return page.encode()


def read_network(raw: bytes) -> tuple[list[dict[str, Any]], Arrays]:
    """Return the steps of an ONNX network for the page, and its constants."""
    graph = onnx.check(raw)
    constants = {tensor["name"][-1]: _read_tensor(tensor) for tensor in graph["tensor"]}
    aliases: dict[str, str] = {}
    steps = []
    for node in graph["node"]:
        operator, output = node["op_type"][-1], node["output"][0]
        inputs = [aliases.get(name, name) for name in node["input"]]
        if operator in ALIASES:
            aliases[output] = inputs[0]
            continue
        attributes = {one["name"][-1]: _read_attribute(one) for one in node["attribute"]}
        if not _can_compute(operator, attributes, [constants.get(name) for name in inputs]):
            settings = ", ".join(f"{name} {value}" for name, value in attributes.items())
            problem = f"A page cannot compute the operator {operator} ({settings}) of this network."
            remedy = "Export it as ONNX: -o NAME.onnx"
            raise ConfigError(f"{problem} {remedy}")
        step = {"operator": operator, "inputs": inputs, "output": output, "attributes": attributes}
        steps.append(step)
    used = {name for step in steps for name in step["inputs"]}
    return steps, {name: array for name, array in constants.items() if name in used}


def _can_compute(operator: str, attributes: dict[str, Any], operands: list[Any]) -> bool:
    """Return whether the page can; `operands` has None for inputs that are no constants."""
    constants = [operand for operand in operands if operand is not None]
    if any(attributes[name] != ATTRIBUTES[name] for name in ATTRIBUTES.keys() & attributes):
        return False
    match operator:
        case "Add" | "Div" | "Max" | "Sub":
            return operands[0] is None and all(array.ndim < 2 for array in constants)
        case "Concat":  # of maps along their channels, or of a shape
            return bool(attributes["axis"] == (0 if constants else 1))
        case "Mul":  # of 8-bit weights and a scale per row
            shapes = [array.shape for array in constants]
            return len(shapes) == 2 and shapes[1] == shapes[0][:1] + (1,) * (len(shapes[0]) - 1)
        case "ReduceL2":
            return [array.tolist() for array in constants] == [[1]]
        case "Reshape":  # flattens
            return [array.shape for array in constants] == [(2,)]
    return operator in OPERATORS


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


def pack(arrays: Arrays) -> tuple[dict[str, dict[str, Any]], bytes]:
    """Return a table of arrays, and their bytes: matrices of 8 or 16 bits, vectors of 32."""
    table, data = {}, bytearray()
    for name, array in arrays.items():
        is_vector = array.size == max(array.shape, default=1)
        kind = "int8" if array.dtype == np.int8 else "float32" if is_vector else "float16"
        table[name] = {"shape": array.shape, "type": kind, "start": len(data)}
        data += array.astype(np.dtype(kind).newbyteorder("<")).tobytes()
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


def _base85(data: bytes) -> Markup:
    """Return text that is 6 % shorter than base 64; a comma replaces "<", which may begin a tag."""
    return Markup(base64.b85encode(data).decode().replace("<", ","))
