"""The file `name.siglum`: a recogniser to share, without code.

    bundle.json            classes, preprocessing, calibration, card, SHA-256 of the other members
    model.onnx             the network
    weights.safetensors    head, reference images and outputs, and the samples it was taught with

It is a plain zip of stored members; docs/bundle-format.md describes it, and `onnx` the network.
Shapes: N samples, M reference images, P planes, S the side, K classes, D features.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, ValidationError

from siglum.config import Preprocess, Settings, build, explain
from siglum.errors import ConfigError, DataError
from siglum.files import parse_json, read_json, write_atomic
from siglum.images.characters import check_output
from siglum.recogniser.calibration import Calibration
from siglum.recogniser.head import Floats, Head, Labels, Mixture, PositionPrior
from siglum.stats import Rate

FORMAT, OLD_FORMAT = 3, 2  # the old one has one vector and one shape per class
SUFFIX = ".siglum"
MEMBERS = CARD, MODEL, WEIGHTS = "bundle.json", "model.onnx", "weights.safetensors"
MAX_CARD, MAX_BYTES = 8 * 2**20, 640 * 2**20  # bytes of bundle.json, and of the whole file
MAX_REFERENCE = 64
MAX_NUMBER = 2**53  # larger integers are not exact in JSON
LOCAL, CENTRAL, END = 30, 46, 22  # bytes of a zip's headers, without names
AGAIN = "Copy it again, or make it again."
# The arrays of weights.safetensors: allowed types, and the size of each axis by the letters above,
# V the rows of the head: vectors of classes, then background classes.
ARRAYS = read_json(Path(__file__).with_name("arrays.json"))


def _check_name(name: str) -> str:
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise ConfigError(f"class names must be printable and not blank, got {name[:40]!a}.")
    return name


def _check_rate(rate: Rate) -> Rate:
    if not 0 <= rate.hits <= rate.total <= MAX_NUMBER or not 0 <= rate.low <= rate.high <= 1:
        raise ConfigError("rates must have 0 <= hits <= total and 0 <= low <= high <= 1.")
    return rate


ClassName = Annotated[str, AfterValidator(_check_name)]
Output = Annotated[str, AfterValidator(check_output)]
CheckedRate = Annotated[Rate, AfterValidator(_check_rate)]


class Card(Settings):
    """A description of a recogniser: its data, the command that made it, and its accuracy."""

    kind: Literal["run", "taught", "backbone"] = "run"
    title: str = ""
    command: str = ""  # that made it
    network: str = ""
    parameters: int = Field(0, ge=0, le=MAX_NUMBER)
    data: dict[str, Any] = Field({})  # what it learned from
    settings: dict[str, Any] = Field({})
    measured: dict[str, CheckedRate] = Field({})  # accuracy, by part
    reference: str = ""  # what the reference images are
    difference: float | None = Field(None, ge=0)  # of onnxruntime's outputs from PyTorch's
    versions: dict[str, str] = Field({})
    licence: str = ""


class _Document(Settings):
    """The contents of bundle.json."""

    format: Literal[2, 3]
    classes: tuple[ClassName, ...] = Field(min_length=1, max_length=100_000)
    outputs: dict[ClassName, Output] = Field({})
    shapes: dict[ClassName, tuple[ClassName, ...]] = Field({})
    preprocess: Preprocess
    calibration: Calibration
    cosine: Literal[True] | None = None  # None without a head
    card: Card
    sha256: dict[str, str]


class ReferenceOutputs(NamedTuple):
    """Images with the uncalibrated logits that the recogniser computes for them."""

    images: NDArray[np.uint8]  # (M, P, S, S)
    logits: Floats  # (M, K)


class Samples(NamedTuple):
    """The drawings a recogniser was taught with."""

    ink: NDArray[np.uint8]  # (N, S, S)
    labels: Labels  # (N,), in [0, K)
    positions: Floats  # (N, 3); NaN where unknown


@dataclass(frozen=True, eq=False, repr=False)
class Bundle:
    """Everything a bundle contains."""

    model: bytes  # ONNX
    preprocess: Preprocess
    classes: tuple[str, ...]  # K names, in label order
    calibration: Calibration
    card: Card
    reference: ReferenceOutputs
    head: Head | None = None
    samples: Samples | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)  # by class, where not its name
    shapes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by class, if several

    @property
    def names(self) -> list[str]:
        """The names of the classes, each with its shapes, such as "σ|ς"."""
        return ["|".join(self.shapes.get(name, (name,))) for name in self.classes]

    @property
    def format(self) -> int:
        """The oldest format that has all of its parts."""
        several = self.shapes or (self.head is not None and self.head.mixture is not None)
        return FORMAT if several else OLD_FORMAT


def check_new(path: Path) -> None:
    """Raise ConfigError if a new bundle cannot be written at `path`."""
    if path.suffix != SUFFIX:
        raise ConfigError(f"out must end in {SUFFIX}, got {str(path)!r}.")
    if path.exists():
        raise ConfigError(f"{path} already exists. Choose another name with -o.")


def save(bundle: Bundle, path: Path) -> None:
    """Write a bundle, whole or not at all. Equal bundles are equal bytes."""
    raw = encode(bundle)
    decode(raw, path.name)
    write_atomic(path, raw)


def encode(bundle: Bundle) -> bytes:
    """Return the bytes of a bundle."""
    from safetensors.numpy import save as save_arrays

    head, samples = bundle.head, bundle.samples
    parts = {"reference": bundle.reference, "head": head, "samples": samples}
    parts |= {name: getattr(head, name, None) for name in ("position", "mixture")}
    arrays = {}
    for key in ARRAYS:
        group, _, name = key.partition(".")
        if parts[group] is not None:
            arrays[key] = np.ascontiguousarray(getattr(parts[group], name))
    members = {MODEL: bundle.model, WEIGHTS: save_arrays(arrays)}
    settings = {name: getattr(bundle, name, None) for name in _Document.model_fields}
    settings["cosine"] = None if head is None else True
    settings["sha256"] = {name: hashlib.sha256(raw).hexdigest() for name, raw in members.items()}
    document = build(_Document, settings)
    empty = {name for name in ("outputs", "shapes") if not getattr(bundle, name)}
    contents = document.model_dump(mode="json", exclude=empty)
    text = json.dumps(contents, indent=1, ensure_ascii=False).encode()
    if len(text) > MAX_CARD:
        raise DataError(f"{CARD} would be larger than {MAX_CARD >> 20} MiB. Shorten the outputs.")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, raw in {CARD: text, **members}.items():
            archive.writestr(zipfile.ZipInfo(name), raw)
    return file.getvalue()


def decode(raw: bytes, name: str) -> Bundle:
    """Return the checked contents of a bundle's bytes; `predict.load` opens its network, too."""
    members = _unzip(raw, name)
    table = parse_json(members[CARD], f"{CARD} in {name}")
    version = table.get("format") if isinstance(table, dict) else None
    if version not in (OLD_FORMAT, FORMAT):
        remedy = "Upgrade Siglum." if isinstance(version, int) and version > FORMAT else AGAIN
        formats = f"{OLD_FORMAT} and {FORMAT}"
        raise DataError(f"{name} has format {version!r:.40}, this Siglum reads {formats}. {remedy}")
    try:
        document = _Document.model_validate(table)
    except ValidationError as error:
        reason = explain(error, _Document.model_fields)
        raise DataError(f"{CARD} in {name}: {reason} {AGAIN}") from None
    for member in (MODEL, WEIGHTS):
        if document.sha256.get(member) != hashlib.sha256(members[member]).hexdigest():
            raise DataError(f"{name} is damaged: {member} has another SHA-256. {AGAIN}")
    classes, preprocess, calibration = document.classes, document.preprocess, document.calibration
    sizes = {"K": len(classes), "P": preprocess.planes, "S": preprocess.size, "1": 1, "3": 3}
    groups = _decode_arrays(members[WEIGHTS], f"{WEIGHTS} in {name}", sizes)
    prior = PositionPrior(**groups["position"]) if "position" in groups else None
    mixture = Mixture(**groups["mixture"]) if "mixture" in groups else None
    head = Head(**groups["head"], position=prior, mixture=mixture) if "head" in groups else None
    samples = Samples(**groups["samples"]) if "samples" in groups else None
    counts = [1] * len(classes) if mixture is None else mixture.counts.tolist()
    thresholds = [one for one in (calibration.sets, calibration.rejection) if one is not None]
    num_vectors = len(classes) if head is None else len(head.vectors)
    fits = {
        "repeated names": len(set(classes)) == len(classes),
        f"{sizes['M']} reference images": 1 <= sizes["M"] <= MAX_REFERENCE,
        "outputs": {*document.outputs} <= {*classes},
        "fewer vectors than classes": min(counts) > 0 and sum(counts) <= num_vectors,
        "softness": mixture is None or mixture.softness > 0,
        "shapes": {*document.shapes} <= {*classes},
        "thresholds": all(len(one.values) in (1, len(classes)) for one in thresholds),
        "labels": samples is None or set(samples.labels.tolist()) <= {*range(len(classes))},
        "positions": prior is None or bool((prior.std > 0).all() and 0 <= prior.gain <= 1),
    }
    for part, fit in fits.items():
        if not fit:
            raise DataError(f"{name} has parts that do not fit {len(classes)} classes: {part}.")
    reference = ReferenceOutputs(**groups["reference"])
    parts = members[MODEL], preprocess, classes, calibration, document.card, reference
    return Bundle(*parts, head, samples, document.outputs, document.shapes)


def _unzip(raw: bytes, name: str) -> dict[str, bytes]:
    """Return the members of a zip of exactly the three members, stored, with nothing between."""
    if raw[:4] != b"PK\3\4":
        content = "a Python pickle, which is never opened" if raw[:1] == b"\x80" else "another file"
        raise DataError(f"{name} is not a bundle, but {content if raw else 'empty'}. {AGAIN}")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            infos = archive.infolist()
            stored = all(not info.compress_type and not info.flag_bits for info in infos)
            length = sum(LOCAL + CENTRAL + 2 * len(i.filename) + i.file_size for i in infos) + END
            names, complete = [info.filename for info in infos], stored and length == len(raw)
            if names == [*MEMBERS] and complete and infos[0].file_size <= MAX_CARD:
                return {info.filename: archive.read(info) for info in infos}
    except Exception as error:  # zipfile raises nearly anything for hostile bytes
        raise DataError(f"{name} is damaged: {str(error)[:200]}. {AGAIN}") from None
    raise DataError(f"{name} must be a zip of {', '.join(MEMBERS)}, stored, and nothing else.")


def _decode_arrays(raw: bytes, name: str, sizes: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Return the arrays by group, checked against `ARRAYS`; adds the sizes of their own axes."""
    from safetensors.numpy import load

    try:
        arrays = load(raw)
    except Exception as error:  # damaged, or of a type that numpy lacks
        raise DataError(f"{name} is not a safetensors file: {error}. {AGAIN}") from None
    groups: dict[str, dict[str, Any]] = {"reference": {}}
    for key, array in arrays.items():
        kinds, axes = ARRAYS.get(key, ((), ""))
        kind, shape = array.dtype.name, array.shape
        if kind not in kinds or len(shape) != len(axes):
            raise DataError(f"{name} has an array {key[:40]!r} of {kind} {shape}: not allowed.")
        expected = tuple(map(sizes.setdefault, axes, shape))
        if shape != expected:
            raise DataError(f"{key} in {name} must have the shape {expected}, got {shape}. {AGAIN}")
        if key != "samples.positions" and not np.isfinite(array).all():
            raise DataError(f"{key} in {name} contains NaN or infinity.")
        group, _, field = key.partition(".")
        groups.setdefault(group, {})[field] = float(array[0]) if axes == "1" else array
    for key in ARRAYS:
        if key not in arrays and key.partition(".")[0] in groups:
            raise DataError(f"{name} lacks the array {key}. {AGAIN}")
    return groups
