"""What a run kept of its own pictures, and classes that are counted as one."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from siglum.cli.classes import read_names
from siglum.cli.evaluate import merged
from siglum.errors import ConfigError
from siglum.lab.runs import Run
from tests.conftest import CLASSES


def test_part_measures_what_the_run_kept(siglum, run: Path) -> None:
    told = siglum("evaluate", run, "--part", "val")
    done = siglum("evaluate", run, "--part", "val", "--json")

    assert done.returncode == 0, done.stderr
    result = Run(run).result
    measured = json.loads(done.stdout)
    assert result is not None
    assert measured["accuracy"]["hits"] == result["val"]["hits"]
    assert measured["accuracy"]["total"] == result["val"]["total"]
    assert measured["loss"] == pytest.approx(result["val"]["loss"])
    assert measured["part"] == "val" and "(val)" in told.stdout


def test_part_needs_no_pictures(siglum, run: Path) -> None:
    """They may be gone: the folder that the run names is not looked at."""
    done = siglum("evaluate", run, "--part", "val", "--threads", 1)

    assert done.returncode == 0 and not done.stderr


@pytest.mark.parametrize("extra", ["source", "weights"])
def test_part_stands_without_what_it_would_ignore(
    siglum, run: Path, later_signs: Path, extra: str
) -> None:
    given = [f"folder:{later_signs}"] if extra == "source" else ["--weights", "best"]
    done = siglum("evaluate", run, *given, "--part", "val")

    assert done.returncode == 2
    assert f"part must stand without {extra}" in done.stderr


def test_a_part_that_the_run_has_not_is_said(siglum, run: Path) -> None:
    done = siglum("evaluate", run, "--part", "test")

    assert done.returncode == 2
    assert f"part must be one that {run} kept (val), got 'test'" in done.stderr


def test_merge_counts_classes_of_a_group_as_one(
    siglum, run: Path, later_signs: Path, tmp_path: Path
) -> None:
    (tmp_path / "groups.csv").write_text("cross,lines\nstroke,lines\n")
    flags = (f"folder:{later_signs}", "--merge", tmp_path / "groups.csv")
    plain = json.loads(siglum("evaluate", run, flags[0], "--json").stdout)
    done = siglum("evaluate", run, *flags, "--json")

    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["classes"] == ["lines", "ring"]
    assert [rate["total"] for rate in measured["recall"]] == [20, 10]
    assert measured["accuracy"]["hits"] >= plain["accuracy"]["hits"]


def test_a_class_that_cannot_be_merged_is_said(siglum, run: Path, tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("rong,round\n")
    done = siglum("evaluate", run, "--part", "val", "--merge", tmp_path / "groups.csv")

    assert done.returncode == 2
    assert "merge must name classes of the run, got 'rong'. Did you mean 'ring'?" in done.stderr


def test_probabilities_of_a_group_are_added() -> None:
    """Each of two classes less likely than a third, both together more."""
    log_probs = np.log([[0.3, 0.4, 0.3], [0.2, 0.8, 0.0 + 1e-12]])
    names, (merged_log_probs, labels) = merged(
        CLASSES, {"cross": "lines", "stroke": "lines"}, (log_probs, np.array([2, 1]))
    )

    assert names == ("lines", "ring") and labels.tolist() == [0, 1]
    np.testing.assert_allclose(np.exp(merged_log_probs), [[0.6, 0.4], [0.2, 0.8]])


def test_a_group_may_have_the_name_of_a_class() -> None:
    log_probs = np.log([[0.3, 0.4, 0.3]])

    names, (_, labels) = merged(CLASSES, {"stroke": "cross"}, (log_probs, np.array([2])))

    assert names == ("cross", "ring") and labels.tolist() == [0]


def test_without_groups_nothing_changes() -> None:
    given = (np.log([[0.3, 0.4, 0.3]]), np.array([2]))

    assert merged(CLASSES, {}, given) == (CLASSES, given)


def test_a_file_of_groups_has_two_names_a_line(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("a,b,c\n")
    message = f"merge must have lines old,new, got 'a,b,c' in {tmp_path / 'groups.csv'}."
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        read_names(tmp_path / "groups.csv", "merge")
