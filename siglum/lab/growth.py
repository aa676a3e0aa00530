"""Accuracy against a setting that is a number: a learning curve, where it is the pictures a class.

Points are means over seeds; the band is the 95 % interval of the mean by Student's t.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from siglum.lab.arms import say
from siglum.lab.outcome import BAND, Figure, Outcome

LEAST = 3  # values that make a curve
MOST = 8  # lines that can be told apart


@dataclass(frozen=True)
class Spot:
    """One value of the setting."""

    value: float
    figure: Figure
    published: float | None

    @property
    def band(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean; None for too few seeds to draw one."""
        low, high = self.figure.low, self.figure.high
        if len(self.figure.values) < BAND or low is None or high is None:
            return None
        return low, high


@dataclass(frozen=True)
class Line:
    """One way to train at all values of the setting."""

    name: str  # of the other settings; "" where there is nothing else
    spots: tuple[Spot, ...]  # values rising


@dataclass(frozen=True)
class Growth:
    """Accuracy against one setting."""

    setting: str
    lines: tuple[Line, ...]


def growth_of(
    outcomes: Sequence[Outcome], levels: Mapping[str, Mapping[str, Any]], part: str
) -> Growth | None:
    """Lay accuracies on `part` out against the first setting that has three numbers or more.

    None where there is no such setting, or the others make more lines than can be told apart.
    """
    there = [outcome for outcome in outcomes if outcome.seeds]
    for setting in levels[outcomes[0].name]:
        found = [levels[outcome.name][setting] for outcome in there]
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in found)
        if not numbers or len(set(found)) < LEAST:
            continue
        lines: dict[str, list[Spot]] = {}
        for outcome in there:
            others = {k: v for k, v in levels[outcome.name].items() if k != setting}
            name = ", ".join(say(v) if k == "arm" else f"{k}={say(v)}" for k, v in others.items())
            value = float(levels[outcome.name][setting])
            spot = Spot(value, outcome.figure(part), outcome.published.get(part))
            lines.setdefault(name, []).append(spot)
        if len(lines) <= MOST:
            made = [
                Line(name, tuple(sorted(spots, key=lambda spot: spot.value)))
                for name, spots in lines.items()
            ]
            return Growth(setting, tuple(made))
    return None
