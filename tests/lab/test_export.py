"""A bundle computes what its run computes, for every network, or it is not written."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from siglum import stats
from siglum.config import Preprocess, TrainConfig
from siglum.errors import ConfigError, DataError, RunError
from siglum.images import sources
from siglum.lab import models
from siglum.lab.export import export, open_run, to_onnx
from siglum.lab.run_folder import Run
from siglum.lab.train_run import train
from siglum.lab.training_loop import evaluate, normalise_batch, to_unit
from siglum.recogniser import onnx as networks
from siglum.recogniser.bundle import Bundle
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import load

SIZES = {"conv_transformer": 64}  # two cells a side: rows and columns differ
REFUSED = {"hog_svm": "ArgMax", "knn": "TopK"}
SLOW = ("conv_transformer", "mobilenet_v3_small")


@pytest.fixture(scope="session")
def path(tiny_run: Run, machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the tiny run."""
    path = tmp_path_factory.mktemp("bundles") / "tiny.siglum"
    export(tiny_run, path, machine)
    return path


@pytest.fixture(scope="session")
def bundle(path: Path) -> Bundle:
    return load(path).bundle


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW))
        for n in models.MODELS
        if n not in {*REFUSED, "mobilenet_v3_large"}  # made of the blocks of mobilenet_v3_small
    ],
)
def test_every_network_is_exported(name: str) -> None:
    """In colour or with position channels, and with batch statistics."""
    torch.manual_seed(0)
    size = SIZES.get(name, 32)
    colour = Preprocess(size=size, channels=3, mean=0.3, std=0.4)
    position = Preprocess(size=size, resize="glyph", position_channels=True, mean=0.3, std=0.4)
    preprocess = position if name == "glyph_net" else colour
    model = models.build(name, 5, preprocess.planes, size)
    with torch.no_grad():
        model.train()(torch.rand(4, preprocess.planes, size, size))
    raw = to_onnx(model.eval(), preprocess, name)
    network = Network(raw, preprocess)

    for count in (1, 7):
        shape = (count, preprocess.planes, size, size)
        images = np.random.RandomState(count).randint(0, 256, shape).astype(np.uint8)
        with torch.inference_mode():
            expected = model(normalise_batch(to_unit(images), preprocess)).numpy()
        error = np.abs(network(images) - expected).max() / np.abs(expected).max()
        assert error <= 1e-5, (name, count, error)
    parameters = sum(p.numel() for p in model.parameters())
    assert len(raw) <= 4 * (1.02 * parameters + 25_000)  # with statistics, constants and names


@pytest.mark.parametrize("name", REFUSED)
def test_networks_of_operators_that_a_bundle_does_not_allow_are_refused(name: str) -> None:
    raw = to_onnx(models.build(name, 5).eval(), Preprocess(), name)
    with pytest.raises(DataError, match=f"uses the operator '{REFUSED[name]}': not allowed"):
        Network(raw, Preprocess())


def test_numpy_and_torch_standardise_bit_identically() -> None:
    for preprocess in (
        Preprocess(mean=0.1307, std=0.3081),
        Preprocess(resize="glyph", position_channels=True, mean=0.2, std=0.3),
    ):
        images = np.random.RandomState(0).randint(
            0, 256, (9, preprocess.planes, 28, 28), dtype=np.uint8
        )
        expected = normalise_batch(to_unit(images), preprocess).numpy()
        assert np.array_equal(networks.standardise(images, preprocess), expected)


def test_a_bundle_computes_what_its_run_computes(
    path: Path, tiny_run: Run, later_signs: Path, machine
) -> None:
    images = sources.load(f"folder:{later_signs}", preprocess=tiny_run.preprocess)
    log_probs = evaluate(tiny_run.model(), images, tiny_run.preprocess, machine)
    recogniser = load(path)

    logits = recogniser.logits(images.images).astype(np.float64)
    bundle_log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    np.testing.assert_allclose(bundle_log_probs, log_probs, atol=1e-4)
    assert recogniser.classes == tiny_run.classes


def test_the_card_holds_the_runs_measurements(bundle: Bundle, tiny_run: Run) -> None:
    result, card = tiny_run.result, bundle.card
    assert result is not None

    for part in ("val", "test"):
        assert asdict(card.measured[part]) == {
            key: result[part][key] for key in ("hits", "total", "low", "high")
        }
    assert card.title == f"glyph_net trained on {tiny_run.config.data}"
    assert (card.network, card.parameters) == ("glyph_net", result["parameters"])
    assert card.difference is not None and card.difference < 1e-5
    assert card.settings["epochs"] == 12 and card.settings["checkpoint"] == "last"
    assert card.versions["torch"] == torch.__version__.partition("+")[0]


def test_probabilities_are_calibrated_on_validation_images(bundle: Bundle, tiny_run: Run) -> None:
    predictions, calibration = tiny_run.predictions(), bundle.calibration

    assert calibration.num_samples == len(predictions["val_labels"])
    held_out = predictions["val_log_probs"], predictions["val_labels"]
    assert calibration.temperature == stats.fit_temperature(*held_out)


def test_two_exports_are_the_same_bytes_and_name_no_files_of_this_machine(
    path: Path, bundle: Bundle, tiny_run: Run, machine, tmp_path: Path
) -> None:
    export(tiny_run, tmp_path / "again.siglum", machine)
    model = onnx.load_from_string(bundle.model)

    assert (tmp_path / "again.siglum").read_bytes() == path.read_bytes()
    assert "site-packages" not in str(model) and ".py" not in str(model)
    onnx.checker.check_model(model, full_check=True)


def test_another_checkpoint_is_measured_again(tiny_run: Run, machine, tmp_path: Path) -> None:
    best = export(tiny_run, tmp_path / "best.siglum", machine, "best")
    accuracies = [epoch.val_accuracy or 0 for epoch in tiny_run.history]

    rate = best.card.measured["val"]

    assert rate.hits / rate.total == pytest.approx(max(accuracies))
    assert best.card.settings["checkpoint"] == "best"
    assert best.calibration.num_samples == rate.total


def test_a_run_predicts_files_as_it_predicts_their_folder(
    signs: Path, later_signs: Path, machine, tmp_path: Path
) -> None:
    """With position channels, which reach the network."""
    settings = {"resize": "glyph", "position_channels": True, "epochs": 1, "batch_size": 16}
    run = train(TrainConfig(data=f"folder:{signs}", **settings), tmp_path / "run", machine)
    images = sources.load(f"folder:{later_signs}", preprocess=run.preprocess)
    expected = np.exp(evaluate(run.model(), images, run.preprocess, machine))
    assert images.files is not None

    files = [later_signs / name for name in images.files]
    predictions = open_run(run, machine).predict(files)

    assert all(prediction.inverted for prediction in predictions)
    for prediction, probs in zip(predictions, expected, strict=True):
        assert prediction.label == run.classes[probs.argmax()]
        assert prediction.probability == pytest.approx(probs.max(), rel=1e-6)
    store = images.store.copy()
    store[:, 3] = 255 - store[:, 3]
    lower = evaluate(run.model(), replace(images, store=store), run.preprocess, machine)
    assert np.abs(np.exp(lower) - expected).max() > 1e-4


class Counting(nn.Module):
    """Computes something else at every call, so ONNX cannot reproduce it."""

    def __init__(self, num_classes: int, in_channels: int = 1, image_size: int = 28) -> None:
        super().__init__()
        self.head = nn.Linear(in_channels * image_size**2, num_classes)
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.head(images.flatten(1)) * (1 + self.calls)
        return logits


class Branching(Counting):
    """Branches on the values of the images."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.flatten(1))
        return logits if logits.sum() > 0 else -logits


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        (
            "Counting",
            "onnxruntime does not reproduce {run}: its outputs differ by ",
            " of the largest logit, more than 0.0001. No bundle was written.",
        ),
        (
            "Branching",
            "Cannot convert {model} to ONNX: ",
            "Write it without branches that depend on the images or their number.",
        ),
    ],
)
def test_a_network_that_onnx_cannot_reproduce_is_refused(
    tiny_run: Run, machine, tmp_path: Path, name: str, start: str, end: str
) -> None:
    model = f"{__file__}:{name}"
    shutil.copytree(tiny_run.path, tmp_path / "own")
    run = Run(tmp_path / "own")
    settings = {**run.config.model_dump(), "model": model}
    (run.path / "config.json").write_text(json.dumps(settings))
    run.save_checkpoint("last", models.build(model, len(run.classes)))

    with pytest.raises(RunError) as error:
        export(run, tmp_path / "own.siglum", machine)

    assert str(error.value).startswith(start.format(run=run.path, model=model))
    assert str(error.value).endswith(end)
    assert not (tmp_path / "own.siglum").exists()


def test_a_bundle_is_a_new_file(path: Path, tiny_run: Run, machine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        export(tiny_run, path, machine)
    assert str(error.value) == f"{path} already exists. Choose another name with -o."

    with pytest.raises(ConfigError, match=r"out must end in \.siglum, got '.*tiny\.onnx'"):
        export(tiny_run, tmp_path / "tiny.onnx", machine)
