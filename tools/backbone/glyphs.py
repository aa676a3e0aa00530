"""Draw a font's characters, and leave out glyphs that cannot be trusted.

Left out are blanks, the box for missing characters, glyphs larger than a few characters, and
glyphs that repeat another character's (see `trustworthy`).
Shapes: H x W pixels of a glyph, S the side of the canonical frame.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from siglum.images.cache import Progress, no_progress
from siglum.images.components import find_components, stroke_width, union
from siglum.images.ink import FILL, frame
from siglum.recogniser.head import unit
from tools.backbone.fonts import Face, open_font

SCAN_EM = 64  # px to the em where pictures are only compared
ABOVE, BELOW, ASIDE = 2, 1, 1  # ems of canvas around a character's origin; 2 to its right
MISSING = "\U0010ffff"  # no font has it, so that what stands for missing characters is drawn
UNLIKE = "abdeghnqrtαβγδεζηλμνξσω"  # small letters that do not look like their capitals
UNICASE = 0.8  # cosine of their pictures from which a small letter is a capital; others have 0.5
SAME = 0.998  # cosine from which two drawings with one box are the same
IDEOGRAPHS = "\u2e80"  # from here on only drawings that are the same to the pixel are compared
LEGIT = 0.5  # share of the faces in which characters of two scripts look the same by right

Ink = NDArray[np.uint8]


@dataclass(frozen=True)
class Drawing:
    """The ink of one character."""

    ink: Ink  # (H, W), cut to what is not 0
    top: int  # px above the line's foot

    @property
    def box(self) -> tuple[int, int, int]:
        """Where its top is, its height and its width, px."""
        return self.top, *self.ink.shape


def draw(font: ImageFont.FreeTypeFont, character: str) -> Drawing | None:
    """Return a character's ink; None if it is blank, larger than the canvas or damaged."""
    em = round(font.size)
    canvas = Image.new("L", ((ASIDE + 2) * em, (ABOVE + BELOW) * em))
    try:
        ImageDraw.Draw(canvas).text((ASIDE * em, ABOVE * em), character, 255, font, anchor="ls")
    except Exception:  # FreeType refuses a damaged outline, or one too large to fill
        return None
    left, top, right, bottom = box = canvas.getbbox() or (0, 0, 0, 0)
    if left == 0 or top == 0 or right == canvas.width or bottom == canvas.height:
        return None
    return Drawing(np.asarray(canvas.crop(box)), ABOVE * em - top)


def frame_glyph(ink: Ink, size: int, fill: float = FILL) -> Ink:
    """Return clean ink (H, W) in the normaliser's frame (S, S).

    The normaliser itself would have to guess which lines are ink: a box with a tick has a frame.
    """
    mask = ink > ink.max() / 2
    top, left, bottom, right = union(find_components(mask).boxes)
    cropped = np.asarray(ink[top:bottom, left:right] / 255, np.float32)
    return frame(cropped, stroke_width(mask), size, fill)[0]


def draw_face(face: Face, size: int, fill: float = FILL) -> Iterator[Ink]:
    """Yield each character of a face as canonical ink (S, S); zeros where it cannot be drawn."""
    for part in face.parts:
        font = open_font(part)
        for character in part.characters:
            drawing = draw(font, character)
            blank = np.zeros((size, size), np.uint8)
            yield frame_glyph(drawing.ink, size, fill) if drawing else blank


def trustworthy(faces: Sequence[Face], progress: Progress = no_progress) -> list[Face]:
    """Return faces with only the characters that can be trusted to look like themselves.

    Two characters of a face that look the same at the same height:

    - of one script, the first by `_rank` stays: capital before small, base before composed. The
      other is no sign of that script's hand, but filled in.
    - of two scripts, both stay where at least half of the faces that have both do it so, as A and
      Greek Alpha; else only the first, since somebody filled a gap.

    Small letters are left out where a face draws capitals for them, larger or smaller.
    """
    from fontTools.unicodedata import script  # late: its tables take time to load

    twins, good = [], []
    for done, face in enumerate(faces, start=1):
        characters, groups = _inspect(face)
        good.append(characters)
        twins.append(groups)
        progress("comparing characters", done, len(faces))
    pairs = Counter(pair for groups in twins for group in groups for pair in combinations(group, 2))
    paired = {character for pair in pairs for character in pair}
    faces_with: defaultdict[str, set[int]] = defaultdict(set)
    for number, characters in enumerate(good):
        for character in characters & paired:
            faces_with[character].add(number)
    legit = {
        (one, other)
        for (one, other), same in pairs.items()
        if script(one) != script(other) and same >= LEGIT * len(faces_with[one] & faces_with[other])
    }
    for characters, groups in zip(good, twins, strict=True):
        for group in groups:
            for place, character in enumerate(group):
                before = (other for other in group[:place] if other in characters)
                if not all((other, character) in legit for other in before):
                    characters.discard(character)
    return [only(face, characters) for face, characters in zip(faces, good, strict=True)]


def only(face: Face, characters: Container[str]) -> Face:
    """Return a face with no other characters than these."""
    parts = [
        replace(part, characters=has)
        for part in face.parts
        if (has := "".join(char for char in part.characters if char in characters))
    ]
    return replace(face, parts=tuple(parts))


def _inspect(face: Face) -> tuple[set[str], list[list[str]]]:
    """Return a face's characters that are drawn at all, and groups of those drawn alike."""
    drawings: dict[str, Drawing] = {}
    for part in face.parts:
        font = open_font(part, SCAN_EM)
        box = draw(font, MISSING)
        for character in part.characters:
            drawing = draw(font, character)
            if drawing is not None and not (box and _twins([drawing, box])):
                drawings[character] = drawing
    characters = list(drawings)
    first: dict[object, int] = {}  # of each exact drawing
    edges = []
    for number, drawing in enumerate(drawings.values()):
        edges.append((first.setdefault((drawing.box, drawing.ink.tobytes()), number), number))
    names = [number for number in first.values() if characters[number] < IDEOGRAPHS]
    for one, other in _twins([drawings[characters[number]] for number in names]):
        edges.append((names[one], names[other]))
    good = set(characters)
    if _unicase(drawings):
        good -= {char for char in good if char.upper() != char and char.upper() in good}
    groups: defaultdict[int, list[str]] = defaultdict(list)
    if edges:
        shape = (len(characters), len(characters))
        ends = tuple(np.array(edges).T)
        labels = connected_components(coo_array((np.ones(len(edges)), ends), shape), False)[1]
        for character, label in zip(characters, labels.tolist(), strict=True):
            if character in good:
                groups[label].append(character)
    return good, [sorted(group, key=_rank) for group in groups.values() if len(group) > 1]


def _twins(drawings: Sequence[Drawing]) -> list[tuple[int, int]]:
    """Return the pairs, by their places, that look the same and stand at one height.

    Not to the last pixel, since FreeType fits the strokes of one script otherwise to the pixels
    than those of another.
    """
    if len(drawings) < 2:
        return []
    boxes = np.array([drawing.box for drawing in drawings])
    squeezed = [
        np.asarray(Image.fromarray(one.ink).resize((16, 16), Image.Resampling.BOX))
        for one in drawings
    ]
    small = unit(np.stack(squeezed).reshape(len(drawings), -1).astype(np.float32))
    near = np.argwhere(np.triu(small @ small.T >= SAME, 1))
    close = (np.abs(boxes[near[:, 0]] - boxes[near[:, 1]]) <= 1).all(axis=1)
    return [(int(one), int(other)) for one, other in near[close]]


def _unicase(drawings: Mapping[str, Drawing]) -> bool:
    """Whether small letters are drawn as capitals, where there are at least five to judge by."""
    alike = []
    for letter in UNLIKE:
        if letter in drawings and letter.upper() in drawings:
            pair = [frame_glyph(drawings[c].ink, 16).ravel() for c in (letter, letter.upper())]
            one, other = unit(np.array(pair, np.float32))
            alike.append(float(one @ other))
    return len(alike) >= 5 and float(np.median(alike)) > UNICASE


def _rank(character: str) -> tuple[bool, bool, int]:
    """Order characters that look the same: capitals, then what has no parts, then by number."""
    composed = unicodedata.normalize("NFKD", character) != character
    small = character.upper() != character
    return composed, small, ord(character)
