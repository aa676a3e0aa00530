"""What was taken for what: the confusion matrix, and the pictures behind its cells.

Shapes: N pictures, K classes.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from siglum import stats
from siglum.report import words
from siglum.report.facts import Facts, Measured
from siglum.report.page import render
from siglum.report.picture import Picture, look, picture
from siglum.report.section import Section

A_CELL = 24  # pictures at most
ROOM = 1_200_000  # bytes of all pictures together
COMMONEST = 8
DENSE = 32  # above so many classes cells are shades without numbers


@dataclass(frozen=True)
class Cell:
    """The pictures of one class that were read as one class."""

    label: int
    predicted: int
    rate: stats.Rate  # of the pictures of the class
    pictures: list[Picture] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Its identifier on the page."""
        return f"cell-{self.label}-{self.predicted}"

    @property
    def wrong(self) -> bool:
        """Whether it holds mistakes."""
        return self.label != self.predicted

    @property
    def shade(self) -> int:
        """How strongly to colour it, in per cent."""
        return round(100 * math.sqrt(self.rate.value))


def confusion(facts: Facts) -> Section | None:
    """Show the matrix, and the commonest mistakes."""
    measured, classes = facts.measured, facts.classes
    if measured is None:
        return None
    counts = measured.measures.confusion
    totals = counts.sum(axis=1)
    found = [
        Cell(int(r), int(c), stats.wilson(int(counts[r, c]), int(totals[r])))
        for r, c in np.argwhere(counts)
    ]
    mistakes = [cell for cell in found if cell.wrong]
    mistakes.sort(key=lambda cell: (-cell.rate.hits, -cell.rate.value))
    _add_pictures(facts, measured, mistakes + [cell for cell in found if not cell.wrong])
    if mistakes:
        worst = mistakes[0]
        finding = Markup(
            "{} read as {} is the commonest mistake: {:,} of {} of {}."
            if len(mistakes) == 1 or mistakes[1].rate.hits < worst.rate.hits
            else "{} read as {} is one of the commonest mistakes: {:,} of {} of {}."
        ).format(
            words.sign(classes[worst.label]),
            words.sign(classes[worst.predicted]),
            worst.rate.hits,
            words.count(worst.rate.total, f"{measured.kind} picture"),
            words.sign(classes[worst.label]),
        )
    else:
        finding = words.sentence(f"No mistakes on {words.count(int(counts.sum()), 'picture')}")
    html = render(
        "confusion.html",
        facts=facts,
        classes=classes,
        cells={(cell.label, cell.predicted): cell for cell in found},
        commonest=mistakes[:COMMONEST],
        kinds=len(mistakes),
        look=look(facts),
        dense=len(classes) > DENSE,
        upright=all(len(name) <= 3 for name in classes),
    )
    return Section("What was taken for what", finding, html)


def _add_pictures(facts: Facts, measured: Measured, cells: list[Cell]) -> None:
    """Fill the cells with pictures, in the order of the cells, until there is no more room.

    Mistakes come surest first, right answers least sure first.
    """
    if facts.shown is None:
        return
    keys = measured.labels * len(facts.classes) + measured.predicted
    surest = np.argsort(-measured.confidence, kind="stable")
    order = surest[np.argsort(keys[surest], kind="stable")]  # by cell, then by sureness
    starts = np.searchsorted(keys[order], np.arange(len(facts.classes) ** 2 + 1))
    room = ROOM
    for cell in cells:
        key = cell.label * len(facts.classes) + cell.predicted
        rows = order[starts[key] : starts[key + 1]]
        for row in (rows if cell.wrong else rows[::-1])[:A_CELL]:
            if room <= 0:
                return
            label, predicted = facts.classes[cell.label], facts.classes[cell.predicted]
            alt = f"{label} read as {predicted}"
            made = picture(
                facts.shown, int(row), alt, words.sureness(float(measured.confidence[row]))
            )
            room -= len(made.address)
            cell.pictures.append(made)
