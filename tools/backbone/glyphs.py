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

from siglum.errors import DataError
from siglum.images.cache import Progress, no_progress
from siglum.images.components import bounding_box, stroke_width
from siglum.images.ink import FILL, frame
from tools.backbone.fonts import Face, open_font

SCAN_EM = 64  # px to the em where pictures are only compared
ABOVE, BELOW, ASIDE = (
    2,
    1,
    1,
)  # ems that may be drawn on around a character's origin; 2 to its right
MISSING = "\U0010ffff"  # no font has it, so that what stands for missing characters is drawn
UNLIKE = "abdeghnqrtαβγδεζηλμνξσω"  # small letters that do not look like their capitals
UNICASE = 0.8  # cosine of their pictures from which a small letter is a capital; others have 0.5
SAME = 0.998  # cosine from which two drawings with one box are the same
IDEOGRAPHS = "\u2e80"  # from here on only drawings that are the same to the pixel are compared
LEGIT = 0.5  # share of the faces in which characters of two scripts look the same by right


@dataclass(frozen=True)
class Drawing:
    """The ink of one character."""

    ink: NDArray[np.uint8]  # (H, W), cut to what is not 0; H and W are 0 where there is nothing
    top: int  # px above the line's foot

    @property
    def box(self) -> tuple[int, int, int]:
        """Where its top is, its height and its width, px."""
        return self.top, *self.ink.shape


def draw(font: ImageFont.FreeTypeFont, character: str) -> Drawing | None:
    """Return a character's ink, or None where it is larger than the canvas or cannot be drawn."""
    em = round(font.size)
    canvas = Image.new("L", ((ASIDE + 2) * em, (ABOVE + BELOW) * em))
    try:
        ImageDraw.Draw(canvas).text((ASIDE * em, ABOVE * em), character, 255, font, anchor="ls")
    except Exception:  # FreeType refuses a damaged outline, or one too large to fill
        return None
    box = canvas.getbbox()
    if box is None:
        return Drawing(np.zeros((0, 0), np.uint8), 0)
    left, top, right, bottom = box
    if left == 0 or top == 0 or right == canvas.width or bottom == canvas.height:
        return None
    return Drawing(np.asarray(canvas.crop(box)), ABOVE * em - top)


def frame_glyph(ink: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return clean ink (H, W) in the normaliser's frame (S, S).

    The normaliser itself would have to guess which lines are ink: a box with a tick has a frame.
    """
    mask = ink > ink.max() / 2
    top, left, bottom, right = bounding_box(mask)
    cropped = ink[top:bottom, left:right].astype(np.float32) / 255
    return frame(cropped, stroke_width(mask), size, FILL)[0]


def draw_face(face: Face, size: int) -> Iterator[NDArray[np.uint8] | DataError]:
    """Yield each character of a face as canonical ink (S, S), or why there is none."""
    for part in face.parts:
        try:
            font = open_font(part)
        except DataError as error:
            yield from (error for _ in part.characters)
            continue
        for character in part.characters:
            drawing = draw(font, character)
            if drawing is None or not drawing.ink.size:
                yield DataError("cannot be drawn")
            else:
                yield frame_glyph(drawing.ink, size)


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

    twins: list[list[list[str]]] = []
    whole: list[set[str]] = []
    for done, face in enumerate(faces, start=1):
        good, groups = _inspect(face)
        whole.append(good)
        twins.append(groups)
        progress("comparing characters", done, len(faces))
    pairs = Counter(pair for groups in twins for group in groups for pair in combinations(group, 2))
    faces_with: defaultdict[str, set[int]] = defaultdict(set)
    paired = {character for pair in pairs for character in pair}
    for number, good in enumerate(whole):
        for character in good & paired:
            faces_with[character].add(number)
    legit = {
        (one, other)
        for (one, other), same in pairs.items()
        if script(one) != script(other) and same >= LEGIT * len(faces_with[one] & faces_with[other])
    }
    trusted = []
    for face, good, groups in zip(faces, whole, twins, strict=True):
        for group in groups:
            for place, character in enumerate(group):
                stays = (other for other in group[:place] if other in good)
                if not all((other, character) in legit for other in stays):
                    good.discard(character)
        trusted.append(only(face, good))
    return trusted


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
    same: defaultdict[object, list[str]] = defaultdict(list)
    cased: dict[str, Drawing] = {}
    first: dict[str, Drawing] = {}  # of each group in `same`
    for part in face.parts:
        try:
            font = open_font(part, SCAN_EM)
        except DataError:
            continue
        box = draw(font, MISSING)
        for character in part.characters:
            drawing = draw(font, character)
            if drawing is None or not drawing.ink.size:
                continue
            if box is not None and _twins([drawing, box]):
                continue
            group = same[drawing.box, drawing.ink.tobytes()]
            group.append(character)
            if len(group) == 1 and character < IDEOGRAPHS:
                first[character] = drawing
            if character.lower() in UNLIKE:
                cased[character] = drawing
    group_of = {group[0]: group for group in same.values()}
    names = list(first)
    for one, other in _twins(list(first.values())):
        left, right = group_of[names[one]], group_of[names[other]]
        if left is not right:
            left += right
            group_of |= dict.fromkeys((char for char in right if char in first), left)
    good = {character for group in same.values() for character in group}
    if _unicase(cased):
        good -= {char for char in good if char.upper() != char and char.upper() in good}
    joined = {id(group): group for group in group_of.values()}.values()
    groups = [sorted((c for c in group if c in good), key=_rank) for group in joined]
    return good, [group for group in groups if len(group) > 1]


def _twins(drawings: Sequence[Drawing]) -> list[tuple[int, int]]:
    """Return the pairs, by their places, that look the same and stand at one height.

    Not to the last pixel, since FreeType fits the strokes of one script otherwise to the pixels
    than those of another.
    """
    if len(drawings) < 2:
        return []
    boxes = np.array([drawing.box for drawing in drawings])
    small = np.stack([_square(drawing.ink) for drawing in drawings])
    near = np.argwhere(np.triu(small @ small.T >= SAME, 1))
    close = (np.abs(boxes[near[:, 0]] - boxes[near[:, 1]]) <= 1).all(axis=1)
    return [(int(one), int(other)) for one, other in near[close]]


def _square(ink: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return ink squeezed into 16 x 16 px, as a unit vector."""
    squeezed = Image.fromarray(ink).resize((16, 16), Image.Resampling.BOX)
    flat = np.asarray(squeezed, dtype=np.float32).ravel()
    unit: NDArray[np.float32] = flat / np.linalg.norm(flat).clip(1)  # a hair's may be 0
    return unit


def _unicase(cased: Mapping[str, Drawing]) -> bool:
    """Whether small letters are drawn as capitals, where there are at least five to judge by."""
    alike = [
        similarity(cased[letter], cased[letter.upper()])
        for letter in UNLIKE
        if letter in cased and letter.upper() in cased
    ]
    return len(alike) >= 5 and float(np.median(alike)) > UNICASE


def similarity(one: Drawing, other: Drawing) -> float:
    """Return the cosine of two drawings in the canonical frame, whatever their size and place."""
    small = []
    for drawing in (one, other):
        small.append(frame_glyph(drawing.ink, 16).ravel().astype(np.float64))
    return float(small[0] @ small[1] / (np.linalg.norm(small[0]) * np.linalg.norm(small[1])))


def _rank(character: str) -> tuple[bool, bool, int]:
    """Order characters that look the same: capitals, then what has no parts, then by number."""
    composed = unicodedata.normalize("NFKD", character) != character
    small = character.upper() != character
    return composed, small, ord(character)
