"""Signs as strokes: one type, whether a font, a data set or the computer's own fancy drew them.

Shapes: P points of a stroke.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP = 1 / 32  # distance between the points of a stroke, in longer sides of its sign
NEAR = 0.045  # of the longer side: an end so near to another stroke touches it

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Joint:
    """The end of a stroke that touches an earlier stroke, or the stroke's own beginning."""

    stroke: int
    end: int  # 0 for its beginning, -1 for its end
    other: int  # the earlier stroke
    place: int  # point of the earlier stroke


@dataclass(frozen=True, eq=False)
class Sign:
    """A character, or another sign, as the strokes of a pen in the order of drawing."""

    label: str
    strokes: tuple[Floats, ...]  # (P, 2) x and y, downwards; the longer side is 1, the middle 0
    joints: tuple[Joint, ...]


def build_sign(label: str, strokes: list[Any]) -> Sign | None:
    """Return strokes (P, 2) at any scale as a sign; None if they are a single point."""
    paths = [np.asarray(stroke, np.float64).reshape(-1, 2) for stroke in strokes if len(stroke)]
    points = np.concatenate(paths) if paths else np.zeros((1, 2))
    low, high = points.min(axis=0), points.max(axis=0)
    longer = float((high - low).max())
    if not longer:
        return None
    paths = [resample((path - (low + high) / 2) / longer) for path in paths]
    return Sign(label, tuple(paths), tuple(_joints(paths)))


def resample(path: Floats) -> Floats:
    """Return points STEP apart along a path (P, 2), its ends included."""
    along = np.concatenate([[0.0], np.hypot(*np.diff(path, axis=0).T).cumsum()])
    count = max(2, round(along[-1] / STEP) + 1)
    places = np.linspace(0, along[-1], count)
    return np.stack([np.interp(places, along, axis) for axis in path.T], axis=1)


def _joints(paths: list[Floats]) -> list[Joint]:
    """Return the ends that touch an earlier stroke, and closed strokes' ends."""
    joints = []
    for number, path in enumerate(paths):
        for end in (0, -1):
            distances = [np.hypot(*(other - path[end]).T) for other in paths[:number]]
            if end and len(path) > 4 and np.hypot(*(path[0] - path[-1])) <= NEAR:
                joints.append(Joint(number, end, number, 0))
            elif distances:
                other = int(np.argmin([values.min() for values in distances]))
                place = int(distances[other].argmin())
                if distances[other][place] <= NEAR:
                    joints.append(Joint(number, end, other, place))
    return joints
