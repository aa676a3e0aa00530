"""The mistakes it was surest of: often the labels to look at first."""

from dataclasses import dataclass

import numpy as np

from siglum import stats
from siglum.report import words
from siglum.report.facts import Facts
from siglum.report.page import render
from siglum.report.picture import Picture, look, picture
from siglum.report.section import Section

MOST = 24
SURE = 0.9


@dataclass(frozen=True)
class Mistake:
    """One picture that was misread."""

    label: str
    predicted: str
    confidence: float  # probability of what it was read as
    truth: float  # probability of what it is
    picture: Picture | None
    row: int  # in the measured part, counted from 1


def mistakes(facts: Facts) -> Section | None:
    """Show the misread pictures with the highest probabilities."""
    measured = facts.measured
    if measured is None:
        return None
    wrong = np.flatnonzero(measured.predicted != measured.labels)
    total = words.count(len(measured.labels), f"{measured.kind} picture")
    if not len(wrong):
        at_most = stats.wilson(0, len(measured.labels)).high
        finding = (
            f"No mistakes on {total}; the true rate of mistakes may still be up to "
            f"{100 * at_most:.1f}{words.SPACE}%"
        )
        return Section("The surest mistakes", words.sentence(finding), render("mistakes.html"))
    sure = int((measured.confidence[wrong] >= SURE).sum())
    verb = "is" if len(wrong) == 1 else "are"
    finding = (
        f"{len(wrong):,} of {total} {verb} misread, "
        f"{sure if sure else 'none'} of them at least 90{words.SPACE}% sure"
    )
    surest = wrong[np.argsort(-measured.confidence[wrong], kind="stable")][:MOST]
    html = render(
        "mistakes.html",
        shown=[_mistake(facts, int(row)) for row in surest],
        total=len(wrong),
        look=look(facts),
        kind=measured.kind,
    )
    return Section("The surest mistakes", words.sentence(finding), html)


def _mistake(facts: Facts, row: int) -> Mistake:
    measured = facts.measured
    assert measured is not None
    label = facts.classes[measured.labels[row]]
    predicted = facts.classes[measured.predicted[row]]
    alt = f"{label} read as {predicted}"
    return Mistake(
        label=label,
        predicted=predicted,
        confidence=float(measured.confidence[row]),
        truth=float(np.exp(measured.log_probs[row, measured.labels[row]])),
        picture=None if facts.shown is None else picture(facts.shown, row, alt),
        row=row + 1,
    )
