"""What a picture file is read as is what it is read as in a set."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from siglum.config import TrainConfig
from siglum.images import sources
from siglum.lab.export import open_run
from siglum.lab.runs import Run
from siglum.lab.trainer import train
from siglum.lab.training import evaluate


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory, signs: Path, machine) -> Run:
    """A run of one epoch whose network sees ink, and how high, how wide and where it is."""
    config = TrainConfig(
        data=f"folder:{signs}",
        resize="glyph",
        position_channels=True,
        epochs=1,
        batch_size=16,
        val=0.2,
    )
    return train(config, tmp_path_factory.mktemp("runs") / "placed", machine)


def test_files_are_read_as_in_a_folder(placed: Run, later_signs: Path, machine) -> None:
    found = sources.load(f"folder:{later_signs}", preprocess=placed.preprocess)
    expected = np.exp(evaluate(placed.model(), found, placed.preprocess, machine))
    assert found.files is not None

    answers = open_run(placed, machine).predict([later_signs / name for name in found.files])

    assert all(answer.inverted for answer in answers)
    for answer, probs in zip(answers, expected, strict=True):
        assert answer.label == placed.classes[probs.argmax()]
        assert answer.probability == pytest.approx(probs.max(), rel=1e-6)


def test_the_network_has_an_input_for_ink_and_three_for_its_place(placed: Run, machine) -> None:
    assert placed.preprocess.planes == 4
    assert placed.model().features[0].in_channels == 4  # type: ignore[index, union-attr]


def test_the_place_reaches_the_network(placed: Run, later_signs: Path, machine) -> None:
    found = sources.load(f"folder:{later_signs}", preprocess=placed.preprocess)
    store = found.store.copy()
    store[:, 3] = 255 - store[:, 3]
    lower = replace(found, store=store)

    before = evaluate(placed.model(), found, placed.preprocess, machine)
    after = evaluate(placed.model(), lower, placed.preprocess, machine)

    assert np.abs(before - after).max() > 1e-4


def test_a_preprocess_from_before_there_was_place_still_serves(
    placed: Run, tiny_run: Run, later_signs: Path, machine, tmp_path: Path
) -> None:
    """The file of an older run has no such line."""
    shutil.copytree(tiny_run.path, tmp_path / "old")
    path = tmp_path / "old" / "preprocess.json"
    settings = json.loads(path.read_text())
    del settings["position_channels"]
    path.write_text(json.dumps(settings))

    old = Run(tmp_path / "old")

    assert old.preprocess == tiny_run.preprocess
    file = next(later_signs.rglob("*.png"))
    assert (
        open_run(old, machine).predict(file).to_dict()
        == open_run(tiny_run, machine).predict(file).to_dict()
    )
