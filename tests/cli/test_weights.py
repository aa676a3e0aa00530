"""Weights by name and from files, from the command line, in processes of their own."""

import json
from pathlib import Path

import pytest
import torch

from siglum.lab import models
from siglum.lab.runs import Run


@pytest.mark.slow
def test_another_process_measures_what_the_training_measured(
    siglum, siglum_process, signs: Path, later_signs: Path, tmp_path: Path
) -> None:
    """Network, checkpoints and dropout of report 2, read back by `siglum evaluate`."""
    path = tmp_path / "run"
    flags = ("--epochs", 3, "--batch-size", 16, "--checkpoint", "lowest_loss", "--threads", 1)
    done = siglum(
        "train", f"folder:{signs}", "--test", f"folder:{later_signs}", "--model", "mnist_net2",
        "--model-options.dropout_at_test=true", "--model-options.kernel_size=3",
        *flags, "--precision", "float32", "-o", path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = Run(path).result
    assert result is not None
    evaluated = siglum_process("evaluate", path, "--threads", 1, "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    measured = json.loads(evaluated.stdout)

    assert measured["accuracy"]["hits"] == result["test"]["hits"]
    assert measured["loss"] == pytest.approx(result["test"]["loss"])
    for name in ("best", "last", "lowest_loss"):
        again = siglum("evaluate", path, "--checkpoint", name, "--threads", 1, "--json")
        assert again.returncode == 0 and json.loads(again.stdout)["accuracy"]["total"] == 30
    for command in (("evaluate", path), ("export", path, "-o", tmp_path / "x.siglum")):
        wrong = siglum(*command, "--checkpoint", "lowest")
        assert wrong.returncode == 2
        assert wrong.stderr.startswith("siglum: checkpoint must be one of best, last")
        assert "got 'lowest'. Did you mean 'lowest_loss'?" in wrong.stderr


def test_training_starts_from_a_file_of_weights_and_describes_it(
    siglum, signs: Path, tmp_path: Path
) -> None:
    torch.save(models.build("glyph_net", 9).state_dict(), tmp_path / "weights.pth")
    flags = ("--epochs", 1, "--batch-size", 16, "--threads", 1, "--freeze", "backbone")
    init = ("--init", f"file:{tmp_path}/weights.pth")
    done = siglum("train", f"folder:{signs}", *init, *flags, "-o", tmp_path / "run")

    assert done.returncode == 0, done.stderr
    assert f"23,891 numbers of file:{tmp_path}/weights.pth; " in done.stdout
    assert "a new head of 1,731; frozen: backbone" in done.stdout
