"""`siglum predict`."""

import csv as csv_module
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from siglum.cli import terminal
from siglum.cli.page import read_page
from siglum.cli.terminal import Switch
from siglum.errors import ConfigError, DataError
from siglum.images.listing import Unreadable
from siglum.recogniser.bundle import SUFFIX
from siglum.recogniser.predict import Answer, load
from siglum.recogniser.predict import predict as read_by_bundle


def predict(
    recogniser: Path,
    /,
    *files: Path,
    sheet: Path | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    weights: str | None = None,
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
        weights: best, last or lowest_loss; by default what the run stands for.
        device: auto, cpu, cuda or mps.
        json: Print JSON.
        csv: Print CSV.
    """
    if sheet is not None:
        if files or csv:
            raise ConfigError("sheet must stand alone, without further files and without --csv.")
        read = _page_by_bundle if is_bundle(recogniser) else _page_by_run
        read(recogniser, sheet, out, weights, device, json)
        return
    if not files:
        raise DataError("predict must have at least one picture file, got none.")
    if is_bundle(recogniser):
        answers, unreadable = _by_bundle(recogniser, files, weights, device)
    else:
        answers, unreadable = _by_run(recogniser, files, weights, device)
    if json:
        terminal.write_json([answer._asdict() for answer in answers])
    elif csv:
        writer = csv_module.writer(sys.stdout)
        writer.writerow(answers[0]._fields if answers else ("file",))
        writer.writerows(answers)
    elif answers:
        rows = [
            (
                answer.file,
                answer.answer,
                terminal.percent(answer.probability),
                f"{answer.runner_up} {terminal.percent(answer.runner_up_probability)}",
                "inverted" if answer.inverted else "",
            )
            for answer in answers
        ]
        terminal.show(terminal.table(("file", "answer", "", "runner-up", "ink"), rows))
    terminal.refuse(unreadable, len(files))


def is_bundle(path: Path) -> bool:
    """Say whether a recogniser is a bundle, and not a run's folder."""
    return path.suffix == SUFFIX or path.is_file()


Answers = tuple[list[Answer], tuple[Unreadable, ...]]


def _by_bundle(path: Path, files: tuple[Path, ...], weights: str | None, device: str) -> Answers:
    _check_bundle(weights, device)
    return read_by_bundle(load(path), files)


def _page_by_bundle(
    path: Path, sheet: Path, out: Path | None, weights: str | None, device: str, json: bool
) -> None:
    _check_bundle(weights, device)
    recogniser = load(path)
    read_page(sheet, recogniser.bundle.preprocess, recogniser.classes, recogniser.probs, out, json)


def _page_by_run(
    path: Path, sheet: Path, out: Path | None, weights: str | None, device: str, json: bool
) -> None:
    from siglum.lab.device import choose_machine  # late: a bundle is read without torch
    from siglum.lab.predict import probs
    from siglum.lab.runs import Run

    run, machine = Run(path), choose_machine(device, "float32")
    read_page(
        sheet,
        run.preprocess,
        run.classes,
        lambda images: probs(run, images, machine, weights),
        out,
        json,
    )


def _check_bundle(weights: str | None, device: str) -> None:
    if weights is not None:
        raise ConfigError(
            f"weights must be left out with a bundle, which has one, got {weights!r}."
        )
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device must be auto or cpu with a bundle, got {device!r}.")


def _by_run(path: Path, files: tuple[Path, ...], weights: str | None, device: str) -> Answers:
    from siglum.lab.device import choose_machine  # late: a bundle is read without torch
    from siglum.lab.predict import predict as read_by_run
    from siglum.lab.runs import Run

    return read_by_run(Run(path), files, choose_machine(device, "float32"), weights)
