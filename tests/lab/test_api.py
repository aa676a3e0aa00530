"""`siglum.lab` from Python: the commands' results in a few lines."""

from pathlib import Path

import pytest

from siglum import Prediction, lab
from siglum.errors import SiglumError


def test_a_run_is_trained_measured_used_and_reported(
    signs: Path, later_signs: Path, tmp_path: Path
) -> None:
    run = lab.train(
        f"folder:{signs}", tmp_path / "run", threads=1, epochs=2, test=f"folder:{later_signs}"
    )

    assert [epoch.index for epoch in run.history] == [1, 2]
    assert run.config.batch_size == run.env["counts"]["train"]  # smaller than the default
    assert run.evaluate("test").accuracy.total == 30
    prediction = run.predict(later_signs / "ring" / "w0_00.png")
    assert isinstance(prediction, Prediction) and prediction.label in run.classes
    assert run.report().read_text().rstrip().endswith("</html>")


def test_watch_gets_every_epoch_once_it_is_saved_and_can_stop(signs: Path, tmp_path: Path) -> None:
    records, path = [], tmp_path / "run"

    def watch(record: object) -> bool:
        if isinstance(record, lab.Epoch):
            records.append((record, len(lab.Run(path).history)))
        return len(records) == 2

    run = lab.train(f"folder:{signs}", path, threads=1, epochs=3, watch=watch)

    assert run.result is None and run.history == [record for record, _ in records]
    assert [saved for _, saved in records] == [1, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 2}, "unknown setting 'epoch'. Did you mean 'epochs'"),
        ({"device": "tpu"}, "device must be one of"),
        ({"precision": "half"}, "precision must be one of"),
        ({"threads": -1}, "threads must be at least 0"),
        ({"model": "nope"}, "model must be one of"),
        ({"augment": ("nope",)}, "augment must be one of"),
    ],
)
def test_wrong_settings_are_told(settings: dict, message: str, signs: Path, tmp_path: Path) -> None:
    with pytest.raises(SiglumError, match=message):
        lab.train(f"folder:{signs}", tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
