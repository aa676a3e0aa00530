"""`siglum compare` as a person calls it."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call


@pytest.fixture(scope="session")
def arms(siglum: Call, signs: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two ways to train with two seeds each, without a test part."""
    folder = tmp_path_factory.mktemp("arms")
    flags = ("--epochs", 2, "--batch-size", 16, "--val", 0.2, "--threads", 1)
    paths = []
    for lr in (0.1, 0.05):
        for seed in (0, 1):
            path = folder / f"{lr}-{seed}"
            done = siglum(
                "train", f"folder:{signs}", "-o", path, *flags, "--lr", lr, "--seed", seed
            )
            assert done.returncode == 0, done.stderr
            paths.append(path)
    return paths


def test_tells_the_finding_the_arms_and_the_pairs(siglum: Call, arms: list[Path]) -> None:
    done = siglum("compare", *arms)

    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("lr=0.") and "2 seeds, 30 validation pictures" in done.stdout
    assert "validation, %" in done.stdout and "lr=0.1 - lr=0.05" in done.stdout


def test_writes_a_page_of_the_kind_that_its_name_says(
    siglum: Call, arms: list[Path], tmp_path: Path
) -> None:
    for ending, start in (
        (".html", "<!doctype html>"),
        (".md", "# lr=0.1 against"),
        (".json", "{"),
    ):
        done = siglum("compare", *arms, "-o", tmp_path / f"page{ending}")
        assert done.returncode == 0, done.stderr
        assert f"Comparison: {tmp_path / f'page{ending}'}" in done.stdout
        assert (tmp_path / f"page{ending}").read_text().startswith(start)


def test_json_is_all_of_it(siglum: Call, arms: list[Path]) -> None:
    done = siglum("compare", *arms, "--json")

    said = json.loads(done.stdout)
    assert [arm["name"] for arm in said["arms"]] == ["lr=0.1", "lr=0.05"]
    assert said["part"] == "val" and said["finding"].endswith(".")


def test_one_arm_is_refused(siglum: Call, arms: list[Path]) -> None:
    done = siglum("compare", *arms[:2])

    assert (done.returncode, done.stderr) == (
        2,
        "siglum: compare must be given at least 2 arms, got 1 in 2 runs. "
        "Give runs that differ in more than the seed.\n",
    )


def test_an_unknown_ending_is_refused(siglum: Call, arms: list[Path]) -> None:
    done = siglum("compare", *arms, "-o", "page.pdf")

    assert (done.returncode, done.stderr) == (
        2,
        "siglum: --out must end in .html, .md, .json, got 'page.pdf'.\n",
    )


def test_what_is_no_run_is_refused(siglum: Call, arms: list[Path], tmp_path: Path) -> None:
    done = siglum("compare", *arms, tmp_path / "none")

    assert done.returncode == 2
    assert done.stderr.startswith(f"siglum: {tmp_path / 'none'} must be a run's folder")
