"""`siglum examine`, as a person would use it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def test_a_run_has_a_page_in_its_folder(siglum, run: Path) -> None:
    done = siglum("examine", run)

    assert (done.returncode, done.stdout) == (0, f"Page: {run / 'examine.html'}\n"), done.stderr
    page = " ".join((run / "examine.html").read_text().split())
    assert "Inside <bdi>glyph_net</bdi>, with validation images of" in page
    assert "The run has no test images." in page


def test_log_probabilities_are_never_cut(
    siglum, run: Path, later_signs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    files = sorted((later_signs / "ring").glob("*.png"))[:2]
    table = siglum("examine", run, *files, "--only", "answers").stdout
    data = json.loads(siglum("examine", run, *files, "--only", "answers", "--json").stdout)

    values = data["answers"]["log_probs"]
    np.testing.assert_allclose(np.exp(values).sum(axis=1), 1, atol=1e-5)
    assert data["answers"]["names"] == [file.name for file in files]
    assert "…" not in table and "2 files; true classes unknown." in table
    for value in values[0]:
        assert (f"{value:.2f}".replace("-", "−") if value <= -0.005 else "0.00") in table


def test_a_figure_is_written_where_the_command_runs(siglum, run: Path, tmp_path: Path) -> None:
    done = siglum("examine", run, "--only", "filters", "--layer", "features.3", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    finding = "features.3 has 32 filters of 3 × 3, each over 16 channels."
    assert done.stdout == f"File: filters.png\n{finding}\n"
    with Image.open(tmp_path / "filters.png") as image:
        assert image.format == "PNG" and image.size[0] > 1000


def test_save_writes_every_panel_that_applies(siglum, run: Path, tmp_path: Path) -> None:
    names = ("layers", "attention", "filters", "printout")
    done = siglum("examine", run, "--save", tmp_path, *(f"--only={name}" for name in names))

    files = {"filters.npz", "filters.png", "filters.svg", "layers.csv", "layers.npz"}
    assert {path.name for path in tmp_path.iterdir()} == files | {"printout.txt"}
    assert done.returncode == 0 and "attention: GlyphNet has no attention" in done.stdout
