"""`siglum predict`."""

import csv as csv_module
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from siglum.cli import terminal
from siglum.cli.page import read_page
from siglum.cli.terminal import Switch
from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError
from siglum.images.ink import preprocess_files
from siglum.recogniser import decide
from siglum.recogniser.bundle import SUFFIX
from siglum.recogniser.place import Places
from siglum.recogniser.predict import Answer, load
from siglum.recogniser.predict import answers as answers_of

Names = tuple[str, ...]
MORE = 4  # further classes of a prediction set in a line of the table


def predict(
    recogniser: Path,
    /,
    *files: Path,
    sheet: Path | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    checkpoint: str | None = None,
    device: str = "auto",
    json: Switch = False,
    csv: Switch = False,
) -> None:
    """Read pictures: the class, its probability and the runner-up of each.

    Where the training pictures were cut out, a picture's ink is cut out in the same way. Otherwise
    it is fitted to the recogniser's square, and dark ink on light paper is inverted where it was
    trained on light ink. A picture should show one character; a page of several goes with --sheet.

    Example: siglum predict digits.siglum photo.png

    Example: siglum predict runs/first photo.png

    Example: siglum predict runs/first --sheet page.jpg -o boxes.png

    Args:
        recogniser: A bundle, which needs no torch, or a run's folder.
        files: Picture files.
        sheet: A picture of a page of several characters, read row by row.
        out: Where to draw the page with its characters' boxes and answers, a PNG file.
        checkpoint: best, last or lowest_loss; by default what the run stands for.
        device: auto, cpu, cuda or mps.
        json: Print JSON.
        csv: Print CSV.
    """
    if sheet is not None:
        if files or csv:
            raise ConfigError("sheet must stand alone, without further files and without --csv.")
        read_page(sheet, *_opened(recogniser, checkpoint, device), out, json)
        return
    if not files:
        raise DataError("predict must have at least one picture file, got none.")
    preprocess, classes, read = _opened(recogniser, checkpoint, device)
    seen = preprocess_files(files, preprocess)
    answers = []
    if seen.files:
        answers = answers_of(seen, read(seen.images, seen.positions), classes)
    if json:
        terminal.write_json([answer._asdict() for answer in answers])
    elif csv:
        writer = csv_module.writer(sys.stdout)
        writer.writerow(Answer._fields)
        writer.writerows(map(_cells, answers))
    elif answers:
        rows = [_row(answer) for answer in answers]
        terminal.show(terminal.table(("file", "answer", "", "or", "ink"), rows))
        for answer in answers:
            for doubt in answer.doubts:
                print(terminal.printable(f"{answer.file}: {doubt}"))
    terminal.refuse(seen.unreadable, len(files))


def _cells(answer: Answer) -> list[object]:
    """Return a line of CSV; several classes or sentences stand in one cell, parted by a blank."""
    return [" ".join(value) if isinstance(value, tuple) else value for value in answer]


def _row(answer: Answer) -> tuple[str, ...]:
    """Return a line of the table; a further class of the prediction set comes without percent."""
    second = f"{answer.runner_up} {terminal.percent(answer.runner_up_probability)}"
    more = [name for name in answer.may_be if name not in (answer.answer, answer.runner_up)]
    ink = "inverted" if answer.inverted else ""
    if answer.none_of_these:
        first = f"{answer.answer} {terminal.percent(answer.probability)}"
        return answer.file, "none of these", "", first, ink
    sure = terminal.percent(answer.probability)
    return answer.file, answer.answer, sure, " ".join([second, *more[:MORE]]), ink


def is_bundle(path: Path) -> bool:
    """Say whether a recogniser is a bundle, and not a run's folder."""
    return path.suffix == SUFFIX or path.is_file()


def _opened(
    path: Path, checkpoint: str | None, device: str
) -> tuple[Preprocess, Names, decide.Reader]:
    """Return what a recogniser sees of a picture, its classes, and what reads (N, P, S, S)."""
    if is_bundle(path):
        _check_bundle(checkpoint, device)
        bundle = load(path)
        return bundle.bundle.preprocess, bundle.classes, bundle.read
    from siglum.lab.device import choose_device  # late: a bundle is read without torch
    from siglum.lab.predict import probs
    from siglum.lab.runs import Run

    run, machine = Run(path), choose_device(device, "float32")

    def read(images: NDArray[np.uint8], places: Places | None = None) -> decide.Reading:
        return decide.plain(probs(run, images, machine, checkpoint))

    return run.preprocess, run.classes, read


def _check_bundle(checkpoint: str | None, device: str) -> None:
    if checkpoint is not None:
        raise ConfigError(
            f"checkpoint must be left out with a bundle, which has one, got {checkpoint!r}."
        )
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device must be auto or cpu with a bundle, got {device!r}.")
