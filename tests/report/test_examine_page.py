"""Every piece of every network can be drawn, and the page holds all of it."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from siglum.errors import ConfigError
from siglum.lab import models
from siglum.lab.device import Device, choose_device
from siglum.lab.examine.subject import DoesNotApplyError, Subject, subject
from siglum.report import examine
from siglum.report.examine import PIECES, canvas
from tests.lab.test_examine import OWN, untrained
from tests.report.conftest import HOSTILE

PNG, NPZ = b"\x89PNG", b"PK"


@pytest.fixture(scope="module")
def machine() -> Device:
    return choose_device("cpu", "float32", threads=1)


def every_piece(looked: Subject) -> dict[str, str]:
    """Make and draw all; return what does not apply, with the sentence that says so."""
    absent = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, made in examine.make(looked, PIECES).items():
            if isinstance(made, DoesNotApplyError):
                absent[name] = str(made)
                continue
            drawn = PIECES[name].draw(made, canvas.PAGE)
            assert drawn.title == PIECES[name].finding(made)
            for key, value in examine.arrays(made).items():
                assert value.dtype != object, (name, key)
                assert value.dtype.kind != "f" or np.isfinite(value).all(), (name, key)
    return absent


@pytest.mark.slow
@pytest.mark.parametrize("name", models.MODELS)
def test_every_piece_of_every_network(
    name: str, tmp_path: Path, signs: Path, machine: Device
) -> None:
    run = untrained(tmp_path / "run", signs, name, 32)
    absent = every_piece(subject(run, machine, count=1))

    assert set(absent) == (set() if name == "conv_transformer" else {"attention"})
    assert all(sentence.endswith(".") for sentence in absent.values())


@pytest.mark.parametrize(("channels", "size"), [(1, 20), (3, 33)])
def test_every_piece_of_a_network_of_ones_own(
    channels: int, size: int, tmp_path: Path, signs: Path, machine: Device
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    run = untrained(tmp_path / "run", signs, f"{tmp_path / 'own.py'}:Own", size, channels=channels)

    assert set(every_piece(subject(run, machine, count=1))) == {"attention"}


def test_planes_of_place_are_no_part_of_the_picture(
    tmp_path: Path, signs: Path, machine: Device
) -> None:
    run = untrained(
        tmp_path / "run", signs, "glyph_net", 28, resize="glyph", position_channels=True
    )
    looked = subject(run, machine)

    assert set(every_piece(looked)) == {"attention"}
    assert PIECES["effect"].make(looked).weights.shape[1] == 1


def test_a_network_without_filters_says_so(tmp_path: Path, signs: Path, machine: Device) -> None:
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n"
        "class Flat(nn.Module):\n"
        "    def __init__(self, num_classes, in_channels=1, image_size=28):\n"
        "        super().__init__()\n"
        "        self.num_features = in_channels * image_size**2\n"
        "        self.head = nn.Linear(self.num_features, num_classes)\n"
        "    def forward_features(self, images):\n"
        "        return images.flatten(1)\n"
        "    def forward(self, images):\n"
        "        return self.head(self.forward_features(images))\n"
    )
    run = untrained(tmp_path / "run", signs, f"{tmp_path / 'flat.py'}:Flat", 16)
    absent = every_piece(subject(run, machine))

    sentence = "The network has no convolution, so it has no filters."
    assert absent.keys() == {"attention", "filters", "effect"}
    assert absent["filters"] == absent["effect"] == sentence


def test_the_page_is_one_file_with_every_piece(tiny_run, tmp_path: Path, machine: Device) -> None:
    """Of a run with a class name that would run a program."""
    page = examine.write_page(
        subject(tiny_run, machine), PIECES, tmp_path / "page.html"
    ).read_text()

    assert re.findall(r'<section id="(\w+)">', page) == [*PIECES]
    assert HOSTILE not in page and page.count("What not to conclude") == len(PIECES) - 1
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert canvas.INK_LINK not in page and page.count('<g class="ink">') > 50
    assert "#0c0c0c" not in page and "var(--accent)" in page
    assert "The run has no test pictures" not in page


def test_without_its_pictures_the_page_shows_the_network(
    tmp_path: Path, signs: Path, machine: Device
) -> None:
    gone = tmp_path / "gone"
    run = untrained(tmp_path / "run", gone, "mnist_net", 28)
    looked = subject(run, machine)
    page = examine.write_page(looked, PIECES, tmp_path / "page.html").read_text()

    assert "Inside <bdi>mnist_net</bdi>, without its pictures." in page
    assert page.count("The run&#39;s pictures cannot be loaded again: ") == len(PIECES) - 4


def test_each_piece_is_a_file_of_every_kind(tmp_path: Path, signs: Path, machine: Device) -> None:
    looked = subject(untrained(tmp_path / "run", signs, "mnist_net", 28), machine)
    absent = examine.write_folder(looked, ["layers", "filters", "attention"], tmp_path / "out")

    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["examine.html"] + [
        f"{name}.{ending}" for name in ("filters", "layers") for ending in ("npz", "png", "svg")
    ]
    assert (tmp_path / "out/filters.png").read_bytes().startswith(PNG)
    drawn = (tmp_path / "out/layers.svg").read_text()
    assert "conv1</text>" in drawn and canvas.INK_LINK not in drawn
    with np.load(tmp_path / "out/filters.npz", allow_pickle=False) as arrays:
        assert arrays["weights"].shape == (10, 1, 5, 5) and str(arrays["layer"]) == "conv1"
    with np.load(tmp_path / "out/layers.npz", allow_pickle=False) as arrays:
        assert arrays["output"][0] == "2 x 1 x 28 x 28"
    assert len(absent) == 1 and absent[0].startswith("attention: Attention can be shown")


def test_an_ending_that_is_no_drawing_is_refused(
    tmp_path: Path, signs: Path, machine: Device
) -> None:
    looked = subject(untrained(tmp_path / "run", signs, "mnist_net", 28), machine)
    piece = PIECES["filters"]
    with pytest.raises(ConfigError, match=r"-o must end in \.png, \.svg, \.npz for a piece, got"):
        examine.write_piece(piece, piece.make(looked), tmp_path / "x.pdf")


@pytest.mark.parametrize("name", PIECES)
def test_every_piece_says_what_it_shows_and_what_it_does_not(name: str) -> None:
    piece = PIECES[name]

    assert len(piece.shows) > 80 and len(piece.beware) > 60
    assert piece.shows.endswith(".") and piece.beware.endswith(".")
