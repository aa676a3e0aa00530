"""Weights by name and from files, from the command line, in processes of their own."""

from pathlib import Path

import torch

from siglum.lab import models


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
