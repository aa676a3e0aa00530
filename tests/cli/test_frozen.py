"""Answers and figures that must survive any change of the code.

Recorded from the code before it was rewritten; only commands are called.
"""

import json
from pathlib import Path

import pytest

LETTERS = sorted((Path(__file__).resolve().parents[2] / "docs" / "letters").glob("*.png"))


@pytest.fixture(scope="module")
def greek(siglum, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frozen") / "greek.siglum"
    assert siglum("teach", "--chars", "αβγ", "-o", path).returncode == 0
    return path


def test_three_letters_from_fonts_are_recognised_as_before(siglum, greek: Path) -> None:
    predictions = json.loads(siglum("predict", greek, *LETTERS, "--json").stdout)

    assert [p["label"] for p in predictions] == ["α", "β", "γ"]
    assert [p["probability"] for p in predictions] == pytest.approx(
        [0.999990784, 0.999999895, 0.999995459], abs=2e-6
    )
    assert [p["prediction_set"] for p in predictions] == [["α"], ["β"], ["γ"]]
    assert not any(p["rejected"] for p in predictions)


def test_teaching_digits_from_fonts_reads_the_bundled_digits_as_before(siglum, tmp_path) -> None:
    """198 of 200 were read correctly, by names alone."""
    import numpy as np
    from PIL import Image

    from siglum.images.sources import load

    test = load("mnist5k", "test")
    files = []
    for index in range(0, 1000, 5):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(np.asarray(test.images[index, 0])).save(files[-1])
    digits = tmp_path / "digits.siglum"
    assert siglum("teach", "--chars", "0123456789", "-o", digits).returncode == 0
    predictions = json.loads(siglum("predict", digits, *files, "--json").stdout)
    labels = [str(label) for label in test.labels[::5]]
    correct = sum(p["label"] == label for p, label in zip(predictions, labels, strict=True))

    assert correct == 198


@pytest.mark.parametrize(
    ("seed", "losses", "hits"), [(0, (1.190814, 0.709750), 970), (1, (1.159402, 0.686161), 972)]
)
def test_training_reaches_the_same_losses(siglum, tmp_path, seed, losses, hits) -> None:
    """Equal on one machine; processors sum in other orders: 0.1, then up to 0.7 % apart."""
    run = tmp_path / "run"
    flags = ("--epochs", 2, "--threads", 1, "--precision", "float32", "--seed", seed, "--json")
    done = siglum("train", "mnist5k", *flags, "-o", run)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]

    assert done.returncode == 0, done.stderr
    for epoch, loss, bound in zip(log, losses, (2e-3, 8e-3), strict=True):
        assert epoch["train_loss"] == pytest.approx(loss, rel=bound)
    assert json.loads(done.stdout)["test"]["hits"] == pytest.approx(hits, abs=3)
