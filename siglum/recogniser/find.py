"""Find a character by its shape or its name among all characters of the backbone.

Shapes: K characters, D features.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from siglum.errors import ConfigError, DataError, choose
from siglum.images import characters, charsets
from siglum.recogniser.predict import ImageLike, default_backbone, preprocess_images
from siglum.recogniser.prototype_head import SAME, Floats

EVERYDAY = {
    *("digits", "latin", "latin-accents", "greek", "punctuation", "currency", "numbers"),
    *("letterlike", "arrows", "mathematics", "technical", "shapes", "boxes", "cards", "music"),
    "signs",
}
PRIOR = 0.04  # cosine; for everyday groups, and again for those of them with a short name
RECENT = 0.08  # cosine; for characters used before
CANDIDATES = 300  # characters considered for rows
MAX_TOP = 100


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
) -> list[Match]:
    """Return the best rows for the features (D,) of extracted ink; see `find`."""
    groups, backbone, index = _check(top, within), default_backbone(), _index()
    classes, vectors = backbone.classes, backbone.head.unit_vectors
    cosines = vectors @ features
    scores = cosines + _prior()
    scores[[index[character] for character in recent if character in index]] += RECENT
    searched = [index[c] for group in groups for c in charsets.groups()[group] if c in index]
    rows = np.array(searched) if groups else np.arange(len(classes))
    order = rows[np.argsort(-scores[rows])[:CANDIDATES]]
    candidates, remaining = vectors[order], np.ones(len(order), dtype=bool)
    matches: list[Match] = []
    scripts: set[str] = set()
    for place, row in enumerate(order.tolist()):
        character, group = classes[row], _groups().get(classes[row], "")
        is_rare = not groups and group not in EVERYDAY
        if not remaining[place] or (is_rare and group in scripts):  # one row of each rare script
            continue
        confusable = charsets.confusables().get(character, ())
        same = candidates @ vectors[row] >= SAME
        same |= np.array([classes[other] in confusable for other in order])
        same &= remaining
        remaining &= ~same
        others = tuple(classes[other] for other in order[same] if other != row)
        matches.append(Match(character, others, float(cosines[row])))
        scripts.add(group)
        if len(matches) == top:
            break
    return matches


def search(text: str, top: int = 30, within: str | Sequence[str] | None = None) -> list[Match]:
    """Find characters by words of their Unicode, LaTeX or Typst names: "left arrow".

    Raises:
        ConfigError: if there is no such group.
    """
    groups, text = _check(top, within), text.strip().removeprefix("\\") or text.strip()
    words, matches = text.lower().split(), []
    for character, names in _names().items():
        group = _groups().get(character, "")
        every = " ".join(names).lower()
        if words and all(word in every for word in words) and (not groups or group in groups):
            order = (
                text not in names,
                not all(f" {word}" in f" {names[1]}" for word in words),
                group not in EVERYDAY,
                not characters.has_typst_name(character),
                len(names[1].split()),
            )
            matches.append((*order, character))
    return [Match(character, (), 0.0) for *_, character in sorted(matches)[:top]]


@cache
def _index() -> Mapping[str, int]:
    return {character: row for row, character in enumerate(default_backbone().classes)}


@cache
def _prior() -> Floats:
    """Return what is added to the cosine of each character (K,)."""
    everyday = np.array([_groups().get(c, "") in EVERYDAY for c in _index()])
    short = np.array([c.isascii() or characters.has_typst_name(c) for c in _index()])
    prior: Floats = PRIOR * (everyday.astype(np.float32) + (everyday & short))
    return prior


@cache
def _groups() -> Mapping[str, str]:
    return {c: group for group, members in charsets.groups().items() for c in members}


@cache
def _names() -> Mapping[str, tuple[str, ...]]:
    """Return the names of each character: itself, Unicode, LaTeX, Typst and code point."""
    return {
        c: (
            *(c, characters.name(c), characters.latex(c).replace("\\", "")),
            *(characters.typst(c), characters.code_point(c)),
        )
        for c in dict.fromkeys([*_groups(), *characters.with_names()])
    }


def _check(top: int, within: str | Sequence[str] | None) -> list[str]:
    """Check arguments, and return the groups."""
    if not 1 <= top <= MAX_TOP:
        raise ConfigError(f"top must be 1 to {MAX_TOP}, got {top}.")
    names = within.split(",") if isinstance(within, str) else within or []
    groups = {name: name for name in charsets.groups()}
    return [choose(groups, name.strip().lower(), "within") for name in names]
