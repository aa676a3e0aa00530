"""`siglum predict`."""

import csv as csv_module
import sys
from pathlib import Path

from siglum.cli import terminal
from siglum.cli.terminal import Switch
from siglum.errors import DataError
from siglum.lab.device import choose_machine
from siglum.lab.predict import predict as answers_of
from siglum.lab.runs import Run


def predict(
    run: Path,
    /,
    *files: Path,
    weights: str | None = None,
    device: str = "auto",
    json: Switch = False,
    csv: Switch = False,
) -> None:
    """Read pictures: the class, its probability and the runner-up of each.

    A picture is fitted to the run's square, and dark ink on light paper is inverted where the run
    was trained on light ink. It should show one character, as the training pictures did.

    Example: siglum predict runs/first photo.png

    Args:
        run: The run's folder.
        files: Picture files.
        weights: best or last; by default what the run stands for.
        device: auto, cpu, cuda or mps.
        json: Print JSON.
        csv: Print CSV.
    """
    if not files:
        raise DataError("predict must have at least one picture file, got none.")
    machine = choose_machine(device, "float32")
    answers, unreadable = answers_of(Run(run), files, machine, weights)
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
    if unreadable:
        listed = "; ".join(f"{name} {reason}" for name, reason in unreadable)
        raise DataError(
            f"{len(unreadable)} of {len(files)} files must be pictures to be read: "
            f"{terminal.printable(listed)}."
        )
