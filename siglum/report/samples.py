"""What was learned from: how many pictures of what, and some of them."""

from dataclasses import dataclass

import numpy as np

from siglum.images.imageset import ImageSet
from siglum.report import words
from siglum.report.facts import Facts
from siglum.report.page import render
from siglum.report.picture import Picture, look, picture, shown_side
from siglum.report.section import Section

MOST = 240  # pictures on the sheet
A_CLASS = 8  # of them, at most


@dataclass(frozen=True)
class Sample:
    """Some training pictures of one class."""

    name: str
    count: int  # of all its training pictures
    pictures: list[Picture]


def samples(facts: Facts) -> Section:
    """Show some training pictures of every class."""
    classes, total = len(facts.classes), facts.env["counts"]["train"]
    finding = (
        f"It learned from {words.count(total, 'picture')} of "
        f"{words.count(classes, 'class', 'classes')}"
    )
    sheet: list[Sample] = []
    left_out: tuple[tuple[str, str], ...] = ()
    if facts.data is not None:
        train = facts.data.train
        low, high = int(train.counts.min()), int(train.counts.max())
        finding += f", {low:,} of each" if low == high else f", {low:,} to {high:,} of each"
        sheet, left_out = _sheet(train), train.unreadable
    html = render(
        "samples.html",
        facts=facts,
        sheet=sheet,
        uneven=len({sample.count for sample in sheet}) > 1,
        look=look(facts),
        wide=max((shown_side(facts) + 4) * max(len(s.pictures) for s in sheet), 100)
        if sheet
        else 0,
        left_out=left_out,
    )
    return Section("What it learned from", words.sentence(finding), html)


def _sheet(train: ImageSet) -> list[Sample]:
    """Return as many pictures of each class, spread evenly over the set."""
    each = min(max(MOST // len(train.classes), 1), A_CLASS)
    made = []
    for label, name in enumerate(train.classes[:MOST]):
        rows = np.flatnonzero(train.labels == label)
        places = np.linspace(0, len(rows) - 1, min(each, len(rows))).round().astype(int)
        shown = [picture(train, row, alt=name) for row in rows[places]]
        made.append(Sample(name, len(rows), shown))
    return made
