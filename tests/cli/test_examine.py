"""`siglum examine`, as a person would use it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from siglum.report.examine import PIECES


@pytest.fixture(scope="module")
def attentive(siglum, signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conv_transformer of one epoch, with four cells."""
    path = tmp_path_factory.mktemp("attentive") / "run"
    flags = ("--model", "conv_transformer", "--size", 64, "--epochs", 1, "--threads", 1)
    done = siglum("train", f"folder:{signs}", "-o", path, *flags)
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_attention_is_drawn_over_a_file(
    siglum, attentive: Path, signs: Path, tmp_path: Path, ending: str
) -> None:
    sheet, picture = tmp_path / f"sheet{ending}", signs / "ring" / "w0_00.png"
    said = siglum("examine", attentive, picture, "--only", "attention", "-o", sheet)

    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("w0_00.png, read as ")
    assert "of 2 × 2 cells, in layer " in said.stdout
    if ending == ".png":
        with Image.open(sheet) as drawn:
            assert drawn.size[0] > 1000
    else:
        assert sheet.read_text().count("head ") >= 8


def test_a_run_has_a_page_in_its_folder(siglum, run: Path) -> None:
    said = siglum("examine", run)

    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-1] == f"Page: {run / 'examine.html'}"
    assert "validation: the run has no test pictures" in said.stdout
    page = (run / "examine.html").read_text()
    assert "<bdi>glyph_net</bdi>, with validation pictures of" in page


def test_the_table_of_layers_is_printed(siglum, run: Path) -> None:
    said = siglum("examine", run, "--only", "layers")

    assert said.returncode == 0, said.stderr
    lines = [line.split() for line in said.stdout.splitlines()]
    assert ["head", "linear", "576", "to", "3", "2", "×", "3", "1,731", "1,728"] in lines
    assert lines[-1][0] == "all"


def test_answers_are_printed_with_two_decimals_and_as_json(
    siglum, run: Path, later_signs: Path
) -> None:
    files = sorted((later_signs / "ring").glob("*.png"))[:2]
    table = siglum("examine", run, *files, "--only", "answers")
    told = siglum("examine", run, *files, "--only", "answers", "--json")

    assert (table.returncode, told.returncode) == (0, 0), table.stderr + told.stderr
    found = json.loads(told.stdout)["answers"]
    probs = np.exp(found["log_probs"])
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert found["labels"] == [-1, -1] and found["names"] == [file.name for file in files]
    first = found["log_probs"][0]
    written = [f"{min(x, 0):.2f}".replace("-", "−") if x <= -0.005 else "0.00" for x in first]
    assert " ".join(written) in " ".join(table.stdout.split())
    assert table.stdout.startswith("2 files; their truth is not known.")


def test_a_piece_is_drawn_where_one_stands(siglum, run: Path, tmp_path: Path) -> None:
    said = siglum("examine", run, "--only", "filters", "--layer", "features.3", cwd=tmp_path)

    assert said.returncode == 0, said.stderr
    assert "features.3 has 32 filters of 3 × 3, each over 16 channels." in said.stdout
    assert said.stdout.endswith("Sheet: filters.png\n") and (tmp_path / "filters.png").exists()


def test_arrays_are_kept(siglum, run: Path, tmp_path: Path) -> None:
    said = siglum(
        "examine", run, "--only", "maps", "--layer", "features.0", "-o", tmp_path / "maps.npz"
    )

    assert said.returncode == 0, said.stderr
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as arrays:
        assert arrays["maps.features.0"].shape == (16, 14, 14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "filter"], "got 'filter'. Did you mean 'filters'?"),
        (["--only", "maps", "--layer", "features.00"], "Did you mean 'features.0'?"),
        (
            ["--only", "filters", "--layer", "head"],
            "layer must have filters to show them (features.0, features.3, features.7), "
            "got 'head'.",
        ),
        (
            ["--only", "attention"],
            "Attention can be shown of networks that have it, such as conv_transformer; GlyphNet "
            "has none.",
        ),
        (["--part", "test"], "part must be one that the run has (val, train), got 'test'."),
        (["--picture", "0"], "picture must be a number from 1 to "),
        (["--picture", "1", "--wrong"], "--picture and --wrong must not be given together"),
        (["--count", "0"], "count must be at least 1, got 0."),
        (["--only", "maps", "-o", "maps.doc"], "-o must end in .png, .svg, .npz for a piece, got"),
        (["-o", "all.png"], "-o must be an .html page or a folder for 14 pieces, got 'all.png'."),
        (["--only", "maps", "--json"], "--json must go with a piece that has a table (layers, "),
        (["no.png"], "no.png must be a picture, but it is not there."),
        (
            ["-o", "no/page.html"],
            "no/page.html must be a place that can be written, but there is no folder no.",
        ),
    ],
)
def test_a_mistake_is_one_line(siglum, run: Path, arguments: list[str], message: str) -> None:
    said = siglum("examine", run, *arguments)

    assert said.returncode == 2, said.stdout
    assert message in said.stderr and said.stderr.count("\n") == 1, said.stderr


def test_the_help_names_every_piece(siglum) -> None:
    said = " ".join(siglum("examine", "--help").stdout.split())

    assert all(name in said for name in PIECES)
