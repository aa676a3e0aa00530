"""`siglum examine`, as a person would use it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from siglum.examine.panels import PANELS


def test_a_run_has_a_page_in_its_folder(siglum, run: Path) -> None:
    done = siglum("examine", run)

    assert (done.returncode, done.stdout) == (0, f"Page: {run / 'examine.html'}\n"), done.stderr
    page = " ".join((run / "examine.html").read_text().split())
    assert "Inside <bdi>glyph_net</bdi>, with validation images of" in page
    assert "The run has no test images." in page


def test_the_table_of_layers_is_printed(siglum, run: Path) -> None:
    done = siglum("examine", run, "--only", "layers")
    rows = [line.split() for line in done.stdout.splitlines()]

    assert done.returncode == 0, done.stderr
    assert [row[-2:] for row in rows if row[0] == "head"] == [["1,731", "1,728"]]
    assert rows[-1][0] == "total"


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
    assert done.stdout == (
        "features.3 has 32 filters of 3 × 3, each over 16 channels.\nFile: filters.png\n"
    )
    with Image.open(tmp_path / "filters.png") as image:
        assert image.format == "PNG" and image.size[0] > 1000


def test_save_writes_every_panel_that_applies(siglum, run: Path, tmp_path: Path) -> None:
    names = ("layers", "attention", "filters", "printout")
    done = siglum("examine", run, "--save", tmp_path, *(f"--only={name}" for name in names))

    files = {"filters.npz", "filters.png", "filters.svg", "layers.csv", "layers.npz"}
    assert {path.name for path in tmp_path.iterdir()} == files | {"printout.txt"}
    assert done.returncode == 0 and "attention: GlyphNet has no attention" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "filter"], "got 'filter'. Did you mean 'filters'?"),
        (["--only", "maps", "--layer", "features.00"], "Did you mean 'features.0'?"),
        (["--only", "filters", "--layer", "head"], "layer must be a convolution (features.0, "),
        (["--only", "attention"], "GlyphNet has no attention."),
        (["--part", "test"], "part must be one that the run has (val, train), got 'test'."),
        (["--image", "0"], "image must be a number from 1 to "),
        (["--image", "1", "--wrong"], "--image and --wrong exclude each other"),
        (["--count", "0"], "count must be at least 1, got 0."),
        (
            ["--only", "maps", "-o", "maps.doc"],
            "suffix of out must be one of .npz, .png, .svg, got '.doc'",
        ),
        (["-o", "all.png"], f"out must end in .html for {len(PANELS)} panels, got all.png."),
        (["no.png"], "no.png"),
    ],
)
def test_a_mistake_is_one_line(siglum, run: Path, arguments: list[str], message: str) -> None:
    done = siglum("examine", run, *arguments)

    assert done.returncode == 2 and message in done.stderr, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_of_weights_is_not_a_run(siglum, tmp_path: Path) -> None:
    (tmp_path / "x.pth").touch()
    done = siglum("examine", tmp_path / "x.pth")

    assert done.returncode == 2 and "x.pth is a file of weights, not a run." in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_help_names_every_panel(siglum) -> None:
    text = " ".join(siglum("examine", "--help").stdout.split())

    assert all(name in text for name in PANELS)
