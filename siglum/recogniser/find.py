"""Find a character by its shape or its name among all characters of the backbone.

Shapes: K characters, D features.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError, choose
from siglum.images import characters, charsets
from siglum.recogniser.predict import ImageLike, default_backbone, preprocess_images
from siglum.recogniser.prototypes import Floats

EVERYDAY = {
    *("digits", "latin", "latin-accents", "greek", "punctuation", "currency", "numbers"),
    *("letterlike", "arrows", "mathematics", "technical", "shapes", "boxes", "cards", "music"),
    "signs",
}
PRIOR = 0.04  # cosine; for everyday groups, and again for characters with a short name
RECENT = 0.08  # cosine; for characters used before
SAME_SHAPE = 0.9  # cosine of two prototypes that share a row
CANDIDATES = 300  # characters considered for rows


@dataclass(frozen=True)
class Match:
    """A character, and others of the same shape."""

    character: str
    lookalikes: tuple[str, ...]  # the likeliest first
    similarity: float  # cosine with the prototype, in [-1, 1]; not a probability

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

    The order prefers everyday characters a little: the similarity of rare ones has to be higher.

    Args:
        image: a path, bytes, a uint8 array, a Pillow image, or strokes; see `Recogniser.predict`.
        top: number of rows; each row is a shape, which several characters may share.
        within: groups of characters to search, such as "greek,arrows"; all when None.
        recent: characters used before, which are preferred.

    Raises:
        ConfigError: if there is no such group.
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
) -> list[Match]:
    """Return the best rows for the features (D,) of extracted ink; see `find`."""
    table, groups = _table(), _parse_groups(within)
    cosines = table.vectors @ features
    scores = cosines + table.prior
    scores[[table.rows[character] for character in recent if character in table.rows]] += RECENT
    if groups:
        scores[~np.isin(table.groups, groups)] = -np.inf
    order = np.argsort(-scores, kind="stable")[:CANDIDATES]
    order = order[np.isfinite(scores[order])]
    alike = table.vectors[order] @ table.vectors[order].T >= SAME_SHAPE
    shapes: list[list[int]] = []  # positions in `order`
    rare: set[str] = set()
    for position, row in enumerate(order.tolist()):
        shape = next((shape for shape in shapes if alike[shape[0], position]), None)
        if shape is not None:
            shape.append(position)
            continue
        group = str(table.groups[row])
        if len(shapes) == top or (not groups and group in rare):
            continue
        if group not in EVERYDAY:
            rare.add(group)  # one row of each script, unless it was asked for
        shapes.append([position])
    classes = default_backbone().classes
    return [
        Match(
            classes[order[shape[0]]],
            tuple(classes[order[position]] for position in shape[1:]),
            float(cosines[order[shape[0]]]),
        )
        for shape in shapes
    ]


def search(text: str, top: int = 30, within: str | Sequence[str] | None = None) -> list[Match]:
    """Find characters by words of their Unicode, LaTeX or Typst names: "left arrow".

    Raises:
        ConfigError: if there is no such group.
    """
    text, groups = text.lower().replace("\\", ""), _parse_groups(within)
    words, matches = text.split(), []
    for character, (name, *codes) in _searchable().items():
        group = _groups().get(character, "")
        known = all(any(word in one for one in (name, *codes)) for word in words)
        if words and known and (not groups or group in groups):
            order = (
                text not in (character, name, *codes),
                not all(word in name for word in words),
                group not in EVERYDAY,
                not characters.has_typst_name(character),
                len(name.split()),
            )
            matches.append((*order, character))
    return [Match(character, (), 0.0) for *_, character in sorted(matches)[:top]]


@dataclass(frozen=True, eq=False)
class _Table:
    vectors: Floats  # (K, D), each of length 1
    groups: NDArray[np.str_]  # (K,)
    prior: Floats  # (K,)
    rows: Mapping[str, int]


@cache
def _table() -> _Table:
    backbone = default_backbone()
    groups = [_groups().get(character, "") for character in backbone.classes]
    everyday = np.array([group in EVERYDAY for group in groups])
    short = [c.isascii() or characters.has_typst_name(c) for c in backbone.classes]
    prior = PRIOR * (everyday.astype(np.float32) + (everyday & np.array(short)))
    rows = {character: row for row, character in enumerate(backbone.classes)}
    return _Table(backbone.head.unit_vectors, np.array(groups), prior.astype(np.float32), rows)


@cache
def _groups() -> Mapping[str, str]:
    return {c: group for group, members in charsets.groups().items() for c in members}


@cache
def _searchable() -> Mapping[str, tuple[str, str, str]]:
    """Return the Unicode, LaTeX and Typst names of characters."""
    classes = dict.fromkeys([*default_backbone().classes, *characters.with_names()])
    return {
        c: (characters.name(c), characters.latex(c).replace("\\", ""), characters.typst(c))
        for c in classes
    }


def _parse_groups(within: str | Sequence[str] | None) -> list[str]:
    names = within.split(",") if isinstance(within, str) else within or []
    groups = {name: name for name in charsets.groups()}
    return [choose(groups, name.strip().lower(), "within") for name in names]
