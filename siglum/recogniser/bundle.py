"""The file `name.siglum`: a recogniser that can be handed on, and holds no code.

    model.onnx         the network             calibration.json   how sure it may be
    preprocess.json    picture -> tensor       card.json          what it is, and sha256 of the rest
    classes.json       names in label order    golden.npz         a few pictures, and their logits
    head.npz           where the network gives features, and classes are taught behind it
    place.npz          where the classes' ink stands, where that tells them apart
    samples.npz        the ink it was taught with, so that teaching can go on

It is read whole or not at all: see `container` for the bytes, `onnx_check` for the network, and
docs/bundle-format.md for the format.
Shapes: N samples, M golden pictures, P planes, S the side, K classes, D features.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from siglum.config import Preprocess, Settings, build
from siglum.errors import ConfigError, DataError
from siglum.recogniser import arrays, container, documents
from siglum.recogniser.arrays import Wanted
from siglum.recogniser.calibration import Calibration
from siglum.recogniser.position import PositionPrior, Positions
from siglum.recogniser.prototypes import Head
from siglum.stats import Rate

FORMAT = 1
SUFFIX = ".siglum"
MODEL, PREPROCESS, CLASSES = "model.onnx", "preprocess.json", "classes.json"
CALIBRATION, CARD, GOLDEN = "calibration.json", "card.json", "golden.npz"
HEAD, PLACE, SAMPLES = "head.npz", "place.npz", "samples.npz"

_MIB = 2**20
LIMITS = {  # bytes at most, in the order of the file
    CARD: _MIB,
    PREPROCESS: _MIB,
    CLASSES: 4 * _MIB,
    CALIBRATION: 4 * _MIB,
    MODEL: 256 * _MIB,
    GOLDEN: 64 * _MIB,
    HEAD: 64 * _MIB,
    PLACE: 4 * _MIB,
    SAMPLES: 256 * _MIB,
}
OPTIONAL = (HEAD, PLACE, SAMPLES)
MAX_BYTES = sum(LIMITS.values()) + container.MAX_DIRECTORY
MAX_GOLDEN = 64
UNKNOWN = -1.0  # stands for a place that is not known, since arrays hold finite numbers only

_F4 = ("<f4",)
_GOLDEN = {"images": Wanted(("|u1",), 4), "logits": Wanted(_F4, 2)}
_HEAD = {"vectors": Wanted(("<f4", "<f2", "|i1"), 2), "scale": Wanted(_F4, 1)}
_HEAD |= {"bias": Wanted(_F4, 1), "centre": Wanted(_F4, 1), "cosine": Wanted(("|b1",), 0)}
_PLACE = {"middle": Wanted(_F4, 2), "spread": Wanted(_F4, 1), "gain": Wanted(("<f8",), 0)}
_SAMPLES = {"ink": Wanted(("|u1",), 3), "labels": Wanted(("<i8",), 1), "places": Wanted(_F4, 2)}

S = TypeVar("S", bound=Settings)


class Card(Settings):
    """What a recogniser is, how it was made and on what, and how well it does."""

    format: Literal[1] = 1
    kind: Literal["run", "taught", "backbone"] = "run"
    title: str = ""
    command: str = Field("", description="That made it.")
    network: str = ""
    parameters: int = Field(0, ge=0)
    data: dict[str, Any] = Field(default_factory=dict, description="What it learned from.")
    settings: dict[str, Any] = Field(default_factory=dict)
    measured: dict[str, Rate] = Field(default_factory=dict, description="Accuracy, by part.")
    reference: str = Field("", description="What the reference images are.")
    difference: float | None = Field(
        None, ge=0, description="Between the lab's logits and these, by the largest of them."
    )
    versions: dict[str, str] = Field(default_factory=dict)
    licence: str = ""
    sha256: dict[str, str] = Field(default_factory=dict, description="Of the other members.")


@dataclass(frozen=True, eq=False)
class ReferenceOutputs:
    """Pictures with what the recogniser gives for them, before it is calibrated."""

    images: NDArray[np.uint8]  # (M, P, S, S)
    logits: NDArray[np.float32]  # (M, K)


@dataclass(frozen=True, eq=False)
class Samples:
    """What a recogniser was taught with."""

    ink: NDArray[np.uint8]  # (N, S, S)
    labels: NDArray[np.int64]  # (N,), in [0, K)
    positions: Positions  # (N, 3); NaN where it is not known


@dataclass(frozen=True, eq=False)
class Bundle:
    """All that a bundle holds."""

    model: bytes  # ONNX
    preprocess: Preprocess
    classes: tuple[str, ...]  # K names, in label order
    calibration: Calibration
    card: Card  # its sha256 are made when it is saved
    reference: ReferenceOutputs
    head: Head | None = None
    samples: Samples | None = None


def save(bundle: Bundle, path: Path) -> None:
    """Write a bundle under a temporary name, sync it and rename it.

    Equal bundles are equal bytes.

    Raises:
        DataError: if the parts do not fit together, or the place cannot be written.
    """
    raw = encode(bundle)
    decode(raw, path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} must be a place that can be written, got {error.strerror!r}. Make room or "
            "choose another with -o."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def read_bundle(path: Path) -> Bundle:
    """Return what a bundle holds, when all of it is as it was written.

    The network is not looked into yet: `predict.load` does that, and runs it.

    Raises:
        DataError: if it is no bundle, of another format, damaged, or does not fit together.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing" if not path.exists() else "no plain file"
        raise DataError(f"{path} must be a bundle's file, got {found}.")
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise DataError(f"{path.name} must have at most {MAX_BYTES:,} bytes, got {size:,}.")
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} must be a file that can be read, got {error.strerror!r}."
        ) from None
    return decode(raw, path.name)


def encode(bundle: Bundle) -> bytes:
    """Return the bytes of a bundle."""
    members = {
        PREPROCESS: documents.encode(bundle.preprocess.model_dump()),
        CLASSES: documents.encode(list(bundle.classes)),
        CALIBRATION: documents.encode(bundle.calibration.model_dump()),
        MODEL: bundle.model,
        GOLDEN: arrays.pack({"images": bundle.reference.images, "logits": bundle.reference.logits}),
    }
    if (head := bundle.head) is not None:
        members[HEAD] = arrays.pack(
            {
                "vectors": head.vectors,
                "scale": head.scale,
                "bias": head.bias,
                "centre": head.centre,
                "cosine": np.array(head.cosine),
            }
        )
        if (place := head.position) is not None:
            members[PLACE] = arrays.pack(
                {"middle": place.mean, "spread": place.std, "gain": np.array(place.gain)}
            )
    if (samples := bundle.samples) is not None:
        places = np.nan_to_num(samples.positions, nan=UNKNOWN)
        members[SAMPLES] = arrays.pack(
            {"ink": samples.ink, "labels": samples.labels, "places": places}
        )
    digests: dict[str, str] = {name: _digest(raw) for name, raw in members.items()}
    card = bundle.card.model_copy(update={"sha256": digests})
    return container.pack({CARD: documents.encode(card.model_dump()), **members})


def decode(raw: bytes, name: str) -> Bundle:
    """Return what the bytes of a bundle hold; see `read`."""
    _check_format(raw, name)
    members = container.unpack(raw, LIMITS, name, OPTIONAL)
    card = _settings(Card, members, CARD, name)
    digests = {member: _digest(inner) for member, inner in members.items() if member != CARD}
    if card.sha256 != digests:
        wrong = next(
            (m for m, digest in digests.items() if card.sha256.get(m) != digest), "other members"
        )
        raise DataError(
            f"{name} must hold what its card lists, got another sha256 of {wrong}. "
            f"{container.AGAIN}"
        )
    bundle = Bundle(
        model=members[MODEL],
        preprocess=_settings(Preprocess, members, PREPROCESS, name),
        classes=_classes(members[CLASSES], name),
        calibration=_settings(Calibration, members, CALIBRATION, name),
        card=card,
        reference=ReferenceOutputs(**arrays.unpack(members[GOLDEN], _GOLDEN, _in(name, GOLDEN))),
        head=_head(members, name),
        samples=_samples(members, name),
    )
    _check_shapes(bundle, name)
    return bundle


def _check_shapes(bundle: Bundle, name: str) -> None:
    """Raise DataError where the parts of a bundle do not fit together."""
    classes, preprocess, golden = len(bundle.classes), bundle.preprocess, bundle.reference
    size, planes = preprocess.size, preprocess.planes
    count = len(golden.images)
    if golden.images.shape[1:] != (planes, size, size) or not 1 <= count <= MAX_GOLDEN:
        raise DataError(
            f"{name} must hold 1 to {MAX_GOLDEN} golden pictures of {planes} x {size} x {size}, "
            f"got {golden.images.shape}."
        )
    head = bundle.head
    outputs = [golden.logits.shape[1]]
    if head is not None:
        outputs += [min(len(head.vectors), classes)]
    if head is not None and head.position is not None:
        outputs += [len(head.position.mean)]
    for width in outputs:
        if width != classes:
            raise DataError(
                f"{name} must name every output of its network once, got {classes} names for "
                f"{width} outputs."
            )
    for promise in (bundle.calibration.sets, bundle.calibration.rejection):
        if promise is not None and len(promise.values) not in (1, classes):
            raise DataError(
                f"{name} must promise by one threshold or one a class ({classes}), got "
                f"{len(promise.values)}."
            )
    if len(golden.logits) != count:
        raise DataError(
            f"{name} must hold logits of every golden picture ({count}), got {len(golden.logits)}."
        )
    if (samples := bundle.samples) is not None:
        ink, labels, places = samples.ink, samples.labels, samples.positions
        fits = ink.shape == (len(labels), size, size) and places.shape == (len(labels), 3)
        if not fits:
            raise DataError(
                f"{name} must hold samples of {size} x {size} with a label and a place each, got "
                f"{ink.shape}, {labels.shape} and {places.shape}."
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise DataError(
                f"{name} must hold samples with labels in [0, {classes}), got {labels.min()} to "
                f"{labels.max()}."
            )


def _check_format(raw: bytes, name: str) -> None:
    """Raise DataError for a bundle of another format, whose members may be others than ours."""
    with container.listing(raw, name) as listed:
        found: Any = None
        for info in listed.infolist():
            if info.filename == CARD and info.file_size <= LIMITS[CARD]:
                try:
                    found = json.loads(listed.read(info))
                except Exception:  # whatever is wrong with it is said where all is checked
                    return
    number = found.get("format") if isinstance(found, dict) else None
    if isinstance(number, int) and number != FORMAT:
        remedy = "Upgrade Siglum." if number > FORMAT else "Make it again."
        raise DataError(
            f"{name} must be of format {FORMAT}, which this Siglum reads, got {number}. {remedy}"
        )


def _head(members: Mapping[str, bytes], name: str) -> Head | None:
    if HEAD not in members:
        return None
    found = arrays.unpack(members[HEAD], _HEAD, _in(name, HEAD))
    found["cosine"] = bool(found["cosine"])  # type: ignore[assignment]
    position = None
    if PLACE in members:
        place = arrays.unpack(members[PLACE], _PLACE, _in(name, PLACE))
        position = PositionPrior(place["middle"], place["spread"], float(place["gain"]))
    return Head(**found, position=position)  # type: ignore[arg-type]


def _samples(members: Mapping[str, bytes], name: str) -> Samples | None:
    if SAMPLES not in members:
        return None
    found = arrays.unpack(members[SAMPLES], _SAMPLES, _in(name, SAMPLES))
    places = np.where(found["places"] == UNKNOWN, np.float32(np.nan), found["places"])
    return Samples(found["ink"], found["labels"], places)


def _classes(raw: bytes, name: str) -> tuple[str, ...]:
    where = _in(name, CLASSES)
    found = documents.parse(raw, where)
    if not isinstance(found, list) or not found or not all(isinstance(n, str) and n for n in found):
        raise DataError(f"{where} must be a list of names, got {str(found)[:80]}.")
    commonest, times = Counter(found).most_common(1)[0]
    if times > 1:
        raise DataError(f"{where} must name each class once, got {commonest!r} {times} times.")
    return tuple(found)


def _settings(cls: type[S], members: Mapping[str, bytes], member: str, name: str) -> S:
    found = documents.parse(members[member], _in(name, member))
    if not isinstance(found, dict):
        raise DataError(f"{_in(name, member)} must be a table, got {str(found)[:80]}.")
    try:
        return build(cls, found)
    except ConfigError as error:
        raise DataError(f"{_in(name, member)}: {error}") from None


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _in(name: str, member: str) -> str:
    return f"{member} in {name}"
