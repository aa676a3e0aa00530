"""The command on the page trains with the settings of the run."""

import html
import shlex
from pathlib import Path
from typing import Any

import cyclopts
import pytest

from siglum.cli.classes import read_names
from siglum.cli.train import train
from siglum.config import TrainConfig
from siglum.lab.runs import Run
from siglum.report.facts import gather
from siglum.report.repeat import command, repeat

CONFIGS: dict[str, dict[str, Any]] = {
    "all as usual": {},
    "another model": {"model": "mnist_net", "model_options": {"filters": 90, "dropout": 0.25}},
    "against a recipe": {"model": "mnist_net", "nesterov": True, "augment": ("affine",)},
    "switched off": {"nesterov": False, "augment": (), "val": 0.0, "label_smoothing": 0.0},
    "two of a kind": {"augment": ("affine", "affine")},
    "negative": {"mean": -0.5, "std": 1e-05},
    "looks like a flag": {"writers": r"-(\d+)\.", "split": "writer"},
    "for the shell": {"data": "folder:my 'signs' $HOME; ls", "test": 'folder:"two" *'},
    "many": {"epochs": 7, "lr": 0.0123456789, "size": 32, "seed": 11},
    "colour": {"channels": 3},
    "a filter": {"model": "mnist_net", "model_options": {"filters": 1}},
}


def typed(line: str) -> dict[str, Any]:
    """The settings that `siglum train` takes from a command line."""
    words = shlex.split(line)
    assert words[:2] == ["siglum", "train"]
    app = cyclopts.App(name="siglum train")
    app.default(train)
    _, bound, _ = app.parse_args(words[2:], exit_on_error=False, print_error=False)
    settings = bound.arguments.get("settings")
    given = settings.model_dump(include=settings.model_fields_set) if settings else {}
    return {"data": bound.arguments["source"], **given}


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
def test_the_command_parses_back_to_the_same_settings(settings: dict[str, Any]) -> None:
    config = TrainConfig(**settings)

    assert TrainConfig(**typed(command(config))).model_dump() == config.model_dump()


def test_usual_settings_are_left_out() -> None:
    assert command(TrainConfig(model="mnist_net", epochs=3)) == (
        "siglum train mnist5k --model mnist_net --epochs 3"
    )


def test_new_names_of_classes_come_as_a_file(tiny_run: Run, tmp_path: Path) -> None:
    page = html.unescape(str(repeat(gather(tiny_run)).html))
    (tmp_path / "classes.csv").write_text(page.split("<pre>")[2].split("</pre>")[0])

    assert "--rename classes.csv" in page
    assert read_names(tmp_path / "classes.csv") == tiny_run.config.rename
