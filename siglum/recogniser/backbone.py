"""The network behind everything that is taught, and what it knows of print.

A backbone is a bundle whose classes are single characters: its network gives features, and each
character's vector is what print of it looks like. The shipped one is inside the package; others are
made by `tools/backbone`.
Shapes: N pictures, K classes, D features, M outsiders.
"""

import hashlib
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError
from siglum.recogniser import bundle as bundles
from siglum.recogniser.class_vectors import unit
from siglum.recogniser.predict import Recogniser, load, opened

SHIPPED = "backbone.siglum"
SHA256 = "a5085ec0478f73992e68b189098291b7da5a6115caf380a781980efc61062da2"
ALIKE = 0.9  # cosine from which a character is no outsider to a class, but looks like it

Floats = NDArray[np.float32]


def shipped() -> Recogniser:
    """Open the backbone inside the package.

    Raises:
        DataError: if the file was changed.
    """
    raw = resources.files("siglum.recogniser").joinpath(SHIPPED).read_bytes()
    if (found := hashlib.sha256(raw).hexdigest()) != SHA256:
        raise DataError(
            f"{SHIPPED} must be as it was shipped, with SHA-256 {SHA256[:12]}..., got "
            f"{found[:12]}.... Install siglum again."
        )
    return opened(bundles.decode(raw, SHIPPED), SHIPPED)


def given(path: Path) -> Recogniser:
    """Open a backbone of one's own.

    Raises:
        DataError: if it is no bundle, or none with a vector a character.
    """
    found = load(path)
    bundle, head = found.bundle, found.bundle.head
    ink = bundle.preprocess.resize == "glyph" and bundle.preprocess.planes == 1
    if head is None or not head.cosine or not ink:
        raise DataError(
            f"{path} must be a backbone, which gives features of cut-out ink and a vector a "
            "character, got another bundle. Make one with: python -m tools.backbone"
        )
    outsiders = len(head.vectors) - len(found.classes)
    if bundle.samples is not None or head.whereabouts is not None or outsiders:
        raise DataError(
            f"{path} must be a backbone, got a recogniser that was taught. Leave out --backbone, "
            "or give the one that it was taught on."
        )
    return found


def features(backbone: Recogniser, ink: NDArray[np.uint8]) -> Floats:
    """Return what ink (N, S, S) looks like: float32 (N, D), each of length 1."""
    head = backbone.bundle.head
    assert head is not None
    if not len(ink):
        return np.empty((0, len(head.centre)), np.float32)
    return unit(backbone.network.run(ink[:, None]) - head.centre)


def prints(backbone: Recogniser, classes: tuple[str, ...]) -> Floats:
    """Return what print of each class looks like: (K, D), each of length 1.

    A class that is not named by a character that the backbone knows has a row of zeros.
    """
    vectors, position = _vectors(backbone), _positions(backbone)
    rows = np.zeros((len(classes), vectors.shape[1]), np.float32)
    for label, name in enumerate(classes):
        if name in position:
            rows[label] = vectors[position[name]]
    return rows


def outsiders(backbone: Recogniser, known: Floats, most: int) -> Floats:
    """Return the characters (M, D) that are most like some class and still none of them.

    Args:
        known: the classes' vectors (K, D), each of length 1, or 0.
        most: M at most.
    """
    vectors = _vectors(backbone)
    nearest = (vectors @ known.T).max(axis=1, initial=-1.0)
    nearest[nearest >= ALIKE] = -np.inf
    chosen = np.argsort(-nearest, kind="stable")[: min(most, int(np.isfinite(nearest).sum()))]
    return vectors[np.sort(chosen)]


@lru_cache(maxsize=4)
def _vectors(backbone: Recogniser) -> Floats:
    head = backbone.bundle.head
    assert head is not None
    return unit(head.vectors.astype(np.float32))


@lru_cache(maxsize=4)
def _positions(backbone: Recogniser) -> dict[str, int]:
    return {name: label for label, name in enumerate(backbone.classes)}
