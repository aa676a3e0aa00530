"""How well every class is read."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from siglum.report import words
from siglum.report.facts import Facts
from siglum.report.page import render
from siglum.report.section import Section
from siglum.stats import Rate


@dataclass(frozen=True)
class Row:
    """One class."""

    name: str
    recall: Rate
    precision: Rate
    taken_for: str | None  # the class it is most often mistaken for
    times: int


def classes(facts: Facts) -> Section | None:
    """Tabulate recall and precision of every class with their intervals."""
    if facts.measured is None:
        return None
    measures = facts.measured.measures
    errors = measures.confusion.copy()
    np.fill_diagonal(errors, 0)
    rows = [
        Row(
            name=name,
            recall=measures.recall[label],
            precision=measures.precision[label],
            taken_for=facts.classes[int(errors[label].argmax())] if errors[label].any() else None,
            times=int(errors[label].max()),
        )
        for label, name in enumerate(facts.classes)
    ]
    places = words.digits(max(row.recall.total for row in rows))
    html = render("classes.html", rows=rows, places=places, kind=facts.measured.kind)
    return Section("Each class", _finding(rows), html)


def _finding(rows: list[Row]) -> Markup:
    there = [row for row in rows if row.recall.total]
    worst = min(there, key=lambda row: (row.recall.value, -row.recall.total))
    if worst.recall.hits == worst.recall.total:
        return words.sentence(
            f"Every picture of all {words.count(len(there), 'class', 'classes')} is read right"
        )
    level = sum(row.recall.value == worst.recall.value for row in there) - 1
    others = f", and so are {words.count(level, 'other', 'others')}" if level > 1 else ""
    others = ", and so is 1 other" if level == 1 else others
    few = "; with so few," if worst.recall.total < words.FEW else ";"
    return Markup(
        "{} is read worst{}: {} of {} right{} the true rate is between {} (95 %)."
    ).format(
        words.sign(worst.name),
        others,
        worst.recall.hits,
        worst.recall.total,
        few,
        words.between(worst.recall),
    )
