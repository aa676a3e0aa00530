"""A bundle gives what its run gives, for every network, or it is not written."""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from siglum import stats
from siglum.config import Preprocess
from siglum.errors import RunError
from siglum.images import sources
from siglum.lab import models
from siglum.lab.export import Exported, export, to_onnx
from siglum.lab.runs import Run
from siglum.lab.training import evaluate, normalise_batch, to_unit
from siglum.recogniser import onnx as networks
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import load

SIZES = {"conv_transformer": 64}  # two cells a side, so that rows and columns differ
SLOW = ("conv_transformer", "mobilenet_v3_large", "mobilenet_v3_small")


@pytest.fixture(scope="session")
def exported(tiny_run: Run, machine, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tiny_run, tmp_path_factory.mktemp("bundles") / "tiny.siglum", machine)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in models.MODELS]
)
def test_every_network_is_exported(name: str) -> None:
    """In colour, or with planes of place, and with statistics in its batch normalisations."""
    torch.manual_seed(0)
    size = SIZES.get(name, 32)
    colour = Preprocess(size=size, channels=3, mean=0.3, std=0.4)
    place = Preprocess(size=size, resize="glyph", position_channels=True, mean=0.3, std=0.4)
    preprocess = place if name == "glyph_net" else colour
    model = models.build(name, 5, preprocess.planes, size)
    with torch.no_grad():
        model.train()(torch.rand(4, preprocess.planes, size, size))
    raw = to_onnx(model.eval(), preprocess, name)
    network = Network(raw, preprocess)

    for count in (1, 7):
        shape = (count, preprocess.planes, size, size)
        pictures = np.random.RandomState(count).randint(0, 256, shape).astype(np.uint8)
        with torch.inference_mode():
            expected = model(normalise_batch(to_unit(pictures), preprocess)).numpy()
        gap = np.abs(network.run(pictures) - expected).max() / np.abs(expected).max()
        assert gap <= 1e-5, (name, count, gap)
    parameters = sum(p.numel() for p in model.parameters())
    assert len(raw) <= 4 * (1.02 * parameters + 25_000)  # with statistics, constants and names


def test_both_halves_prepare_pictures_alike() -> None:
    """The same bits from torch and numpy."""
    for preprocess in (
        Preprocess(mean=0.1307, std=0.3081),
        Preprocess(resize="glyph", position_channels=True, mean=0.2, std=0.3),
    ):
        pictures = np.random.RandomState(0).randint(
            0, 256, (9, preprocess.planes, 28, 28), dtype=np.uint8
        )
        torchs = normalise_batch(to_unit(pictures), preprocess).numpy()
        assert np.array_equal(networks.standardise(pictures, preprocess), torchs)


def test_a_bundle_gives_what_its_run_gives(
    exported: Exported, tiny_run: Run, later_signs: Path, machine
) -> None:
    pictures = sources.load(f"folder:{later_signs}", preprocess=tiny_run.preprocess)
    log_probs = evaluate(tiny_run.model(), pictures, tiny_run.preprocess, machine)
    recogniser = load(exported.path)

    logits = recogniser.logits(pictures.images).astype(np.float64)
    found = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    np.testing.assert_allclose(found, log_probs, atol=1e-4)
    assert recogniser.classes == tiny_run.classes


def test_the_card_says_what_the_run_measured(exported: Exported, tiny_run: Run) -> None:
    result, card = tiny_run.result, load(exported.path).bundle.card
    assert result is not None

    for part in ("val", "test"):
        found = asdict(card.measured[part])
        assert found == {key: result[part][key] for key in ("hits", "total", "low", "high")}
    assert card.title == f"glyph_net trained on {tiny_run.config.data}"
    assert (card.network, card.parameters) == ("glyph_net", result["parameters"])
    assert card.reference == "validation pictures"
    assert card.difference is not None and card.difference < 1e-5
    assert card.settings["epochs"] == 12 and card.settings["checkpoint"] == "last"
    assert card.versions["torch"] == torch.__version__.partition("+")[0]
    assert exported.warning is None


def test_probabilities_are_calibrated_on_the_validation_pictures(
    exported: Exported, tiny_run: Run
) -> None:
    kept = tiny_run.predictions()

    calibration = exported.bundle.calibration

    assert calibration.num_samples == len(kept["val_labels"])
    assert calibration.temperature == stats.fit_temperature(
        kept["val_log_probs"], kept["val_labels"]
    )


def test_two_exports_are_the_same_bytes(
    exported: Exported, tiny_run: Run, machine, tmp_path: Path
) -> None:
    again = export(tiny_run, tmp_path / "again.siglum", machine)

    assert again.path.read_bytes() == exported.path.read_bytes()


def test_the_network_names_no_files_of_the_machine_that_made_it(exported: Exported) -> None:
    model = onnx.load_from_string(exported.bundle.model)

    assert "site-packages" not in str(model) and ".py" not in str(model)
    onnx.checker.check_model(model, full_check=True)


def test_other_weights_are_measured_again(tiny_run: Run, machine, tmp_path: Path) -> None:
    """Those that the run does not stand for: of them it kept no predictions."""
    best = export(tiny_run, tmp_path / "best.siglum", machine, "best").bundle
    epochs = [epoch.val_accuracy for epoch in tiny_run.epochs]

    share = best.card.measured["val"]

    assert share.hits / share.total == pytest.approx(max(e for e in epochs if e is not None))
    assert best.card.settings["checkpoint"] == "best"
    assert best.calibration.num_samples == share.total


def test_without_its_pictures_a_run_is_compared_on_noise(
    tiny_run: Run, machine, tmp_path: Path
) -> None:
    """What the run kept of its validation still calibrates it."""
    shutil.copytree(tiny_run.path, tmp_path / "moved")
    config = tmp_path / "moved" / "config.json"
    config.write_text(config.read_text().replace(tiny_run.config.data, "folder:gone"))

    made = export(Run(tmp_path / "moved"), tmp_path / "moved.siglum", machine)

    assert made.warning is not None and "gone" in made.warning
    assert made.bundle.card.reference == "random noise"
    assert made.bundle.calibration.num_samples > 0


class Counting(nn.Module):
    """Gives something else at every call, so that what is written cannot be what is computed."""

    num_features = 64

    def __init__(self, num_classes: int, in_channels: int = 1, image_size: int = 28) -> None:
        super().__init__()
        self.head = nn.Linear(in_channels * image_size**2, num_classes)
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.head(images.flatten(1)) * (1 + self.calls)
        return logits


class Branching(Counting):
    """Decides by the pictures which way to go."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.flatten(1))
        return logits if logits.sum() > 0 else -logits


def own(run: Run, folder: Path, name: str) -> Run:
    """A run whose network is one of the classes above."""
    model = models.build(f"{__file__}:{name}", len(run.classes))
    shutil.copytree(run.path, folder)
    config = run.config.model_copy(update={"model": f"{__file__}:{name}"})
    made = Run(folder)
    made._write_json("config.json", config.model_dump())
    made.save_checkpoint("last", model)
    return made


def test_a_network_that_computes_something_else_is_refused(
    tiny_run: Run, machine, tmp_path: Path
) -> None:
    run = own(tiny_run, tmp_path / "own", "Counting")

    with pytest.raises(RunError) as error:
        export(run, tmp_path / "own.siglum", machine)

    said = str(error.value)
    assert said.startswith(
        f"{run.path} must give the same by onnxruntime as by torch, to 0.0001 of its largest "
        "logit, got "
    )
    assert said.endswith(". There is no bundle.")
    assert not (tmp_path / "own.siglum").exists()


def test_a_network_that_cannot_be_written_is_refused(
    tiny_run: Run, machine, tmp_path: Path
) -> None:
    run = own(tiny_run, tmp_path / "own", "Branching")

    with pytest.raises(RunError) as error:
        export(run, tmp_path / "own.siglum", machine)

    said = str(error.value)
    assert said.startswith(
        f"{__file__}:Branching must be a network that torch can write as ONNX with any number of "
        "pictures, got "
    )
    assert said.endswith(
        "Write it without branches that depend on the pictures or on their number."
    )


def test_a_bundle_is_never_overwritten(exported: Exported, tiny_run: Run, machine) -> None:
    with pytest.raises(RunError) as error:
        export(tiny_run, exported.path, machine)

    assert str(error.value) == (
        "out must be a new file that ends in .siglum, got one that exists. Choose another with -o."
    )


def test_a_bundle_has_its_ending(tiny_run: Run, machine, tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        export(tiny_run, tmp_path / "tiny.onnx", machine)

    assert str(error.value) == (
        "out must be a new file that ends in .siglum, got tiny.onnx. Choose another with -o."
    )
