"""What the network says of single pictures, and which training pictures lie near them."""

import numpy as np

from siglum.lab.examine.answers import Answers
from siglum.lab.examine.features import Nearest
from siglum.lab.examine.subject import CHOSEN
from siglum.report.examine.canvas import (
    Box,
    Canvas,
    Look,
    canvas,
    frames,
    ink,
    lines,
    short,
    write,
)
from siglum.report.examine.network import Table

COLUMNS = 10  # log-probabilities of a picture, at most; of more classes the likeliest


def first_finding(found: Answers) -> str:
    """Say what is shown."""
    return f"{_some(found, len(found.pictures))}, as the network sees them"


def draw_first(found: Answers, look: Look) -> Canvas:
    """Draw the pictures with the truth under them."""
    side, gap, across = 148, 24, 6
    down = -(-len(found.pictures) // across)
    on = canvas(
        min(len(found.pictures), across) * (side + gap) - gap,
        down * (side + 44),
        look,
        first_finding(found),
    )
    places: list[Box] = []
    for number, picture in enumerate(found.pictures):
        x, y = number % across * (side + gap), number // across * (side + 44)
        ink(on, picture, x, y, side)
        places.append((x, y, side, side))
        truth = found.truth(number)
        write(
            on,
            x,
            y + side + 16,
            short(found.names[number] if truth is None else truth, 18),
            size=15,
        )
    frames(on, places)
    return on


def answers_finding(found: Answers) -> str:
    """Say how many were right, without making a rate of so few."""
    known = int((found.labels >= 0).sum())
    if not known:
        return f"{_some(found, len(found.pictures))}; their truth is not known"
    right = known - sum(found.wrong(row) for row in range(len(found.labels)))
    return f"{_some(found, known)}: {right} right"


def answer_table(found: Answers) -> Table:
    """Return a row a picture: log-probabilities, best match, truth."""
    ranked = len(found.classes) > COLUMNS
    names = [f"{i + 1}." for i in range(COLUMNS)] if ranked else [*found.classes]
    rows = []
    for row, log_probs in enumerate(found.log_probs):
        order = np.argsort(-log_probs, kind="stable")[:COLUMNS] if ranked else range(len(names))
        cells = [
            f"{short(found.classes[i], 8)} {_log(log_probs[i])}" if ranked else _log(log_probs[i])
            for i in order
        ]
        truth = found.truth(row)
        said = "–" if truth is None else f"{truth}, wrong" if found.wrong(row) else truth
        rows.append((found.names[row], *cells, found.answer(row), said))
    return ("picture", *names, "best match", "truth"), rows


def draw_answers(found: Answers, look: Look) -> Canvas:
    """Draw the table with the pictures in it; the best match stands out by weight."""
    columns, rows = answer_table(found)
    cell = 74 if len(found.classes) <= COLUMNS else 92
    numbers = len(columns) - 3
    width, row = 44 + numbers * cell + 250, 44
    on = canvas(width, 28 + row * len(rows), look, answers_finding(found))
    for index, name in enumerate(columns[1:-2]):
        write(
            on, 44 + (index + 1) * cell, 12, short(name, 9), size=12, colour=look.quiet, ha="right"
        )
    write(on, width - 220, 12, "best match", size=12, colour=look.quiet)
    write(on, width - 110, 12, "truth", size=12, colour=look.quiet)
    places: list[Box] = []
    for number, cells in enumerate(rows):
        y = 28 + row * number
        lines(on, [[(0, y), (width, y)]])
        ink(on, found.pictures[number], 0, y + 4, 36)
        places.append((0.0, y + 4.0, 36.0, 36.0))
        best = int(found.log_probs[number].argmax()) if len(found.classes) <= COLUMNS else 0
        for index, text in enumerate(cells[1:-2]):
            colour = look.ink if index == best else look.quiet
            x = 44 + (index + 1) * cell
            write(on, x, y + 22, text, size=13, colour=colour, ha="right", bold=index == best)
        write(on, width - 220, y + 22, short(cells[-2], 12), size=15, bold=True)
        wrong = found.wrong(number)
        write(
            on,
            width - 110,
            y + 22,
            short(cells[-1], 20),
            size=13,
            colour=look.accent if wrong else look.ink,
        )
    frames(on, places)
    return on


def draw_predictions(found: Answers, look: Look) -> Canvas:
    """Draw a grid: the answer under each picture, its number, and where it is wrong the truth."""
    side, gap, across = 84, 20, 10
    down = -(-len(found.pictures) // across)
    on = canvas(
        min(len(found.pictures), across) * (side + gap) - gap,
        down * (side + 52),
        look,
        answers_finding(found),
    )
    right: list[Box] = []
    wrong: list[Box] = []
    for number, picture in enumerate(found.pictures):
        x, y = number % across * (side + gap), number // across * (side + 52)
        ink(on, picture, x, y + 1, side)
        missed = found.wrong(number)
        (wrong if missed else right).append((float(x), y + 1.0, float(side), float(side)))
        colour = look.accent if missed else look.ink
        write(on, x, y + side + 15, short(found.answer(number), 8), size=14, colour=colour)
        if found.chosen:
            place = found.names[number].rpartition(" ")[2]
            write(on, x + side, y + side + 15, place, size=11, colour=look.quiet, ha="right")
        truth = found.truth(number)
        if missed and truth is not None:
            said = f"wrong: it is {truth}" if len(truth) < 4 else f"not {truth}"
            write(on, x, y + side + 32, short(said, 16), size=11, colour=look.accent)
    frames(on, right)
    frames(on, wrong, look.accent, 2)
    return on


def nearest_finding(found: Nearest) -> str:
    """Say how many were looked at, and how often the nearest has the class of the answer."""
    same = sum(
        answer == near[0]
        for answer, near in zip(found.answers, found.neighbour_classes, strict=True)
    )
    among = f"{found.among:,}" if found.among == found.of else f"{found.among:,} of {found.of:,}"
    return (
        f"Of {among} training pictures, the nearest is of the class that is answered for "
        f"{same} of {len(found.answers)} pictures"
    )


def draw_nearest(found: Nearest, look: Look) -> Canvas:
    """Draw a row a picture: itself, then its neighbours with class and cosine."""
    side, gap, left = 84, 16, 152
    count = found.cosines.shape[1]
    row = side + 40
    on = canvas(
        left + count * (side + gap), row * len(found.names) + 20, look, nearest_finding(found)
    )
    write(on, 0, 8, "the picture", size=12, colour=look.quiet)
    write(
        on, left, 8, "the nearest training pictures, with their cosine", size=12, colour=look.quiet
    )
    places: list[Box] = []
    for number, picture in enumerate(found.pictures):
        y = number * row + 22
        ink(on, picture, 0, y, side)
        places.append((0, y, side, side))
        write(on, 0, y + side + 12, f"read as {short(found.answers[number], 12)}", size=13)
        for index, near in enumerate(found.neighbours[number]):
            x = left + index * (side + gap)
            ink(on, near, x, y, side)
            places.append((x, y, side, side))
            name = str(found.neighbour_classes[number, index])
            other = name != found.answers[number]
            write(
                on,
                x,
                y + side + 12,
                short(name, 7),
                size=13,
                colour=look.accent if other else look.ink,
            )
            write(
                on,
                x + side,
                y + side + 12,
                f"{found.cosines[number, index]:.2f}",
                size=11,
                colour=look.quiet,
                ha="right",
            )
    frames(on, places)
    return on


def _log(value: float) -> str:
    """Write a log-probability to two decimals: "−0.02"; never "-0.00"."""
    return f"{min(value, 0.0) + 0.0:.2f}".replace("-", "−") if value <= -0.005 else "0.00"


def _some(found: Answers, count: int) -> str:
    said = f"{count} {found.kind}{'' if count == 1 else 's'}"
    if found.chosen == "first":
        return f"The first {said}"
    return said + CHOSEN.get(found.chosen, "")
