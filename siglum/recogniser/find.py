"""Find a character by its shape or its name among all characters of the backbone.

Shapes: K characters, D features.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np

from siglum.errors import ConfigError, DataError, choose
from siglum.images import characters, charsets
from siglum.recogniser.fit import SAME
from siglum.recogniser.head import Floats
from siglum.recogniser.predict import ImageLike, default_backbone, preprocess_images

PRIOR = 0.01  # cosine; times how common a character is
RECENT = 0.08  # cosine; for characters used before
CANDIDATES = 300  # characters considered for rows
MAX_TOP = 100


@dataclass(frozen=True)
class Match:
    """A character, and others of the same shape."""

    character: str
    lookalikes: tuple[str, ...]  #: the likeliest first
    similarity: float  #: cosine with the prototype, in [-1, 1]; not a probability

    def to_dict(self) -> dict[str, object]:
        """Return what `siglum find --json` prints."""
        return {
            **characters.describe(self.character),
            "lookalikes": [characters.describe(character) for character in self.lookalikes],
            "similarity": round(self.similarity, 4),
        }


def find(
    image: ImageLike,
    top: int = 10,
    within: str | Sequence[str] | None = None,
    recent: Collection[str] = (),
) -> list[Match]:
    """Find the characters that look most like a drawing or a photo of one character.

    Among all characters, the order prefers common ones: the similarity of rare ones has to be
    higher. Among those of `within` it does not.

    Args:
        image: a path, bytes, a uint8 array, a Pillow image, or strokes; see `Recogniser.predict`.
        top: number of rows, 1 to 100; each is a shape, which several characters may share.
        within: groups of characters to search, such as "greek,arrows"; all when None.
        recent: characters used before, which are preferred.

    Raises:
        ConfigError: if there is no such group, or `top` is out of range.
        DataError: if the image cannot be read or shows no ink.
    """
    backbone = default_backbone()
    (image_input,) = preprocess_images([image], backbone.preprocess)
    report = image_input.report
    if report is None or report.empty:
        raise DataError("No ink found: nothing stands out from the paper. Use a darker pen.")
    for warning in report.warnings():
        warnings.warn(warning, stacklevel=2)
    return rank(backbone.features(image_input.planes)[0], top, within, recent)


def rank(
    features: Floats,
    top: int = 10,
    within: str | Sequence[str] | None = None,
    recent: Collection[str] = (),
    prior: float = PRIOR,
) -> list[Match]:
    """Return the best rows for the features (D,) of extracted ink; see `find`."""
    searched, backbone, index = _check(top, within), default_backbone(), _index()
    classes, vectors = backbone.classes, backbone.head.unit_vectors
    cosines = vectors @ features
    scores = cosines.copy() if searched else cosines + prior * _weights()
    scores[[index[character] for character in recent if character in index]] += RECENT
    rows = np.array([index[c] for c in searched if c in index] or range(len(classes)))
    order = rows[np.argsort(-scores[rows])[:CANDIDATES]]
    matches: list[Match] = []
    while len(order) and len(matches) < top:
        row = order[0]
        confusable = charsets.confusables(classes[row])
        same = vectors[order] @ vectors[row] >= SAME
        same |= np.array([classes[other] in confusable for other in order])
        others = tuple(classes[other] for other in order[same] if other != row)
        matches.append(Match(classes[row], others, float(cosines[row])))
        order = order[~same]
    return matches


def search(text: str, top: int = 30, within: str | Sequence[str] | None = None) -> list[Match]:
    """Find characters by words of their Unicode, LaTeX or Typst names: "left arrow"."""
    searched, text = _check(top, within), text.strip().removeprefix("\\") or text.strip()
    words, matches = text.lower().split(), []
    for character in searched or _names():
        names = _names()[character]
        every = " ".join(names).lower()
        if words and all(word in every for word in words):
            order = (
                text not in names,
                not all(f" {word}" in f" {names[1]}" for word in words),
                -charsets.commonness().get(character, 0),
                character not in characters.names_in("typst"),
                len(names[1].split()),
            )
            matches.append((*order, character))
    return [Match(character, (), 0.0) for *_, character in sorted(matches)[:top]]


@cache
def _index() -> Mapping[str, int]:
    return {character: row for row, character in enumerate(default_backbone().classes)}


@cache
def _weights() -> Floats:
    """Return how common each character of the backbone is (K,)."""
    return np.array([charsets.commonness().get(character, 0) for character in _index()], np.float32)


@cache
def _names() -> Mapping[str, tuple[str, ...]]:
    """Return the names of each character: itself, Unicode, LaTeX, Typst and code point."""

    def names(c: str) -> tuple[str, ...]:
        latex = characters.latex(c).replace("\\", "")
        return c, characters.name(c), latex, characters.typst(c), characters.code_point(c)

    every = chain(*charsets.groups().values(), *map(characters.names_in, ("latex", "typst")))
    return {character: names(character) for character in dict.fromkeys(every)}


def _check(top: int, within: str | Sequence[str] | None) -> Mapping[str, None]:
    """Check arguments, and return the characters to search, in order; none for all."""
    if not 1 <= top <= MAX_TOP:
        raise ConfigError(f"top must be 1 to {MAX_TOP}, got {top}.")
    names = within.split(",") if isinstance(within, str) else within or []
    chosen = [choose(charsets.sets(), name.strip().lower(), "within") for name in names]
    return dict.fromkeys(chain(*chosen))
