"""From fonts to a backbone by the command line, in the order of docs/pretraining.md."""

import json
import shlex
import shutil
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from siglum.lab.recipes import pretrain as recipe

from .conftest import Call

ROOT = Path(__file__).resolve().parents[2]
LENGTH = "--hours 1"  # in the page; here an epoch of a small network
SHORT = (
    "--epochs 1 --epoch-size 64 --batch-size 16 --size 16 --val 0.1 "
    "--model-options.width 4 --model-options.features 16"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some faces, in a folder for each kind."""
    package = find_spec("matplotlib")
    assert package is not None and package.origin is not None
    there = Path(package.origin).parent / "mpl-data/fonts/ttf"
    home = tmp_path_factory.mktemp("place")
    for kind, family in (("hand", "DejaVuSans"), ("text", "DejaVuSerif")):
        (home / "my-fonts" / kind).mkdir(parents=True)
        for style in ("", "-Bold"):
            shutil.copy(there / f"{family}{style}.ttf", home / "my-fonts" / kind)
    return home


def blocks(page: str) -> list[list[str]]:
    return [block.splitlines()[1:] for block in page.split("```")[1::2]]


@pytest.mark.slow
def test_every_command_about_pretraining_works_in_its_order(siglum: Call, place: Path) -> None:
    """But for the last block, which says of itself that it takes long."""
    page = (ROOT / "docs/pretraining.md").read_text()
    own, long = blocks(page)
    assert LENGTH in own[0] and "This takes long" in page.partition(long[-1])[2]
    for command in own:
        name, *rest = shlex.split(command.replace(LENGTH, SHORT))
        done = siglum(*rest, cwd=place)
        assert name == "siglum" and done.returncode == 0, f"{command}: {done.stderr}"
        if rest[0] == "info":
            said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
            assert said["what"].startswith("features of sign_net, and 62 characters; ")
            assert said["calibration"].endswith(", a guess: no pictures were held out")


def test_the_long_commands_have_settings_that_can_be_read() -> None:
    """7.2 million pictures, as the file says."""
    _, long = blocks((ROOT / "docs/pretraining.md").read_text())
    (file,) = [word for line in long for word in shlex.split(line) if word.endswith(".toml")]
    settings = tomllib.loads((ROOT / file).read_text())
    config = recipe.settings({**settings, "data": "fonts:free-fonts"})

    assert (config.epochs or 0) * (config.epoch_size or 0) == 7_200_000
    assert config.prefer == {"hand": 3.0}


def test_a_pretraining_as_json(siglum: Call, place: Path) -> None:
    done = siglum(
        *("pretrain", "fonts:my-fonts#ABab", "-o", "json", "--json", "--threads", 1),
        *("--prefer.hand", 2, "--prefer.DejaVu Serif Bold", 3),
        *shlex.split(SHORT.replace("64", "16")),
        cwd=place,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["run"], found["epochs"]) == ("json", 1)
    assert found["val"]["total"] == 4
    assert json.loads((place / "json/config.json").read_text())["prefer"] == {
        "DejaVu Sans Bold": 2.0,
        "DejaVu Sans Book": 2.0,
        "DejaVu Serif Bold": 3.0,
    }


def test_flags_go_before_the_file(siglum: Call, place: Path) -> None:
    (place / "short.toml").write_text('hours = 2\nmodel = "glyph_net"\n')
    flags = shlex.split(SHORT.replace("64", "16").partition(" --model-options")[0])
    done = siglum(
        *("pretrain", "fonts:my-fonts#ABab", "-o", "flags", "--config", "short.toml"),
        *flags,
        cwd=place,
    )

    assert done.returncode == 0, done.stderr
    config = json.loads((place / "flags/config.json").read_text())
    assert (config["model"], config["epochs"], config["batch_size"]) == ("glyph_net", 1, 16)
    assert config["split"] == "writer"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pretrain", "source must be named, as in: siglum pretrain fonts:my-fonts"),
        ("pretrain mnist5k", "source must be fonts:DIR to pretrain on, got 'mnist5k'."),
        (
            "pretrain fonts:my-fonts#AB --hours 1 --epochs 1 -o none",
            "hours must be left out where epochs are given, or epochs.",
        ),
        (
            "pretrain fonts:my-fonts#AB --hours 0 -o none",
            "hours must be above 0, got 0.0.",
        ),
        (
            "export none -o x.siglum --vectors weights",
            "vectors and prefer must go with features. Give --features, too.",
        ),
        (
            "export none -o x.siglum --prefer.hand 2",
            "vectors and prefer must go with features. Give --features, too.",
        ),
    ],
)
def test_a_mistake_is_told_in_a_line(siglum: Call, place: Path, line: str, message: str) -> None:
    done = siglum(*shlex.split(line), cwd=place)

    assert (done.returncode, done.stderr) == (2, f"siglum: {message}\n")
    assert not (place / "none").exists()


def test_the_help_tells_the_settings_of_a_pretraining_and_leaves_those_of_train(
    siglum: Call,
) -> None:
    pretraining, training = siglum("pretrain", "--help").stdout, siglum("train", "--help").stdout

    assert "[default: sign_net]" in pretraining and "[default: glyph_net]" in training
    assert "[default: 0.5]" in pretraining and "--split" not in pretraining
    assert "--split" in training and "[default: sign_net]" not in training


@pytest.mark.parametrize("hours", ['"2"', "[1]", "true"])
def test_hours_in_a_file_must_be_a_number(siglum: Call, place: Path, hours: str) -> None:
    (place / "long.toml").write_text(f"hours = {hours}\n")
    done = siglum("pretrain", "fonts:my-fonts#AB", "--config", "long.toml", cwd=place)

    assert done.returncode == 2 and "hours must be a number, got" in done.stderr
