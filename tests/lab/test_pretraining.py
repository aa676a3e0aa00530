"""From fonts to a backbone, on the faces that come with matplotlib."""

import json
import re
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from siglum.config import TrainConfig
from siglum.errors import ConfigError, RunError
from siglum.images import lookalike, sources
from siglum.images.imageset import ImageSet
from siglum.images.origins import origins
from siglum.lab import backbone, models, prints, sampling, training
from siglum.lab.device import Machine
from siglum.lab.export import Exported
from siglum.lab.optimizer import make_optimizer
from siglum.lab.recipes import pretrain as recipe
from siglum.lab.recipes.train import Stopped, resume
from siglum.lab.runs import Run
from siglum.lab.training import normalised, to_unit
from siglum.recogniser.class_vectors import unit
from siglum.recogniser.network import Network
from siglum.recogniser.predict import load
from siglum.recogniser.teach import SCALE

CHARACTERS = (
    "ABTabαβАВ0Oo"  # of Latin, Greek and Cyrillic; the fourth last and third last are not A B
)
SMALL = {"width": 4, "features": 16}
FACTORS = {"serif": 2.0}


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DejaVu's faces, with and without serifs, a folder each."""
    package = find_spec("matplotlib")
    assert package is not None and package.origin is not None
    there = Path(package.origin).parent / "mpl-data/fonts/ttf"
    place = tmp_path_factory.mktemp("faces")
    for kind, pattern in (("sans", "DejaVuSans*"), ("serif", "DejaVuSerif*")):
        (place / kind).mkdir()
        for file in there.glob(f"{pattern}.ttf"):
            if "Display" not in file.name:
                shutil.copy(file, place / kind)
    return place


@pytest.fixture(scope="session")
def config(faces: Path) -> TrainConfig:
    return recipe.settings(
        {
            "data": f"fonts:{faces}#{CHARACTERS}",
            "model_options": SMALL,
            "size": 16,
            "val": 0.2,
            "epochs": 4,
            "epoch_size": 80,
            "batch_size": 16,
            "lr": 0.05,
            "prefer": FACTORS,
        }
    )


@pytest.fixture(scope="session")
def run(config: TrainConfig, machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return recipe.pretrain(config, tmp_path_factory.mktemp("runs") / "backbone", machine)


@pytest.fixture(scope="session")
def exported(run: Run, machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("bundles") / "backbone.siglum"
    return backbone.export(run, path, machine, vectors="means", licence="CC0-1.0")


# What an epoch draws


def pictures(labels: list[int], writers: list[int] | None = None) -> ImageSet:
    count = max(labels) + 1
    store = np.zeros((len(labels), 8, 8), np.uint8)
    made = ImageSet.from_arrays(store, np.array(labels), [str(label) for label in range(count)])
    names = None if writers is None else tuple(f"w{writer}" for writer in writers)
    return replace(made, writers=names)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=2, max_size=60),
    st.floats(0, 1),
    st.floats(0.1, 10),
    st.integers(1, 200),
)
def test_an_epoch_draws_what_balance_and_prefer_say(
    found: list[tuple[int, int]], balance: float, factor: float, size: int
) -> None:
    """Of every class and every picture as many as expected, rounded down or up."""
    labels, writers = np.array([a for a, _ in found]), np.array([b for _, b in found])
    images = pictures(labels.tolist(), writers.tolist())
    counts = np.bincount(labels)
    of_class = np.where(counts > 0, counts.astype(float) ** (1 - balance), 0)
    of_class /= of_class.sum()
    own = np.where(writers == 1, factor, 1.0)
    expected = of_class[labels] * own / np.bincount(labels, own)[labels]

    weights = sampling.weights(images, balance, {"w1": factor})
    drawn = sampling.order(images.labels, weights, size, np.random.RandomState(0))

    assert weights is not None and len(drawn) == size
    np.testing.assert_allclose(weights, expected)
    assert np.abs(np.bincount(drawn, minlength=len(labels)) - size * expected).max() < 1 + 1e-6
    found_classes = np.bincount(labels[drawn], minlength=len(counts))
    assert np.abs(found_classes - size * of_class).max() < 1 + 1e-6


def test_without_balance_and_preference_an_epoch_shows_every_picture_once() -> None:
    images = pictures([0, 0, 0, 1, 1, 2])
    assert sampling.weights(images, 0.0, {}) is None

    for size in (6, 12):
        drawn = sampling.order(images.labels, None, size, np.random.RandomState(1))
        assert sorted(drawn) == sorted(list(range(6)) * (size // 6))


def test_over_many_epochs_a_picture_comes_as_often_as_its_weight() -> None:
    """Also where it is expected in a part of the epochs only."""
    images = pictures([0] * 20 + [1] * 5)
    weights = sampling.weights(images, 1.0, {})
    random = np.random.RandomState(0)
    drawn = [sampling.order(images.labels, weights, 10, random) for _ in range(500)]

    often = np.bincount(np.concatenate(drawn)) / len(drawn)

    np.testing.assert_allclose(often[20:], 1.0)
    np.testing.assert_allclose(often[:20], 0.25, atol=0.08)


def test_an_epoch_is_as_long_as_it_was_asked_for(machine: Machine, tmp_path: Path) -> None:
    images = pictures([0, 1] * 20)
    config = TrainConfig(epoch_size=24, epochs=2, batch_size=8, size=8, augment=())
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    state = training.TrainState(model, make_optimizer(model, config))
    records = training.fit(state, images, None, config, config.preprocess(), machine)

    assert [r.examples for r in records if isinstance(r, training.Epoch)] == [24, 48]
    assert state.step == 6


def test_a_writer_that_is_not_there_is_not_preferred() -> None:
    with pytest.raises(ConfigError) as error:
        sampling.check(pictures([0, 1], [1, 2]), {"w3": 2.0})
    assert str(error.value) == "prefer must name writers of arrays, got 'w3'."

    with pytest.raises(ConfigError) as error:
        sampling.check(pictures([0, 1]), {"w1": 2.0})
    assert str(error.value) == ("prefer must name writers, and those of arrays are not known.")


# The training


def test_faces_are_held_out_whole_and_look_alikes_are_one_class(
    run: Run, config: TrainConfig
) -> None:
    data = backbone.load(run)
    assert data.val is not None and data.val.writers and data.train.writers
    images = sources.load(config.data, "all", config.preprocess())

    groups = lookalike.groups(lookalike.pairs(images))

    assert not set(data.val.writers) & set(data.train.writers)
    assert ("A", "А") in groups and ("B", "В") in groups
    assert run.classes == tuple(
        sorted({*CHARACTERS} - {c for g in groups for c in g} | {"".join(g) for g in groups})
    )
    assert run.result is not None and run.result["val"]["total"] == len(data.val)


def test_a_folder_of_faces_is_preferred_face_by_face(run: Run) -> None:
    factors = run.config.prefer

    assert len(factors) == 4 and set(factors.values()) == {2.0}
    assert all(name.startswith("DejaVu Serif") for name in factors)


def test_look_alikes_are_the_same_when_found_again(config: TrainConfig) -> None:
    """The second time they are read from the cache."""
    images = sources.load(config.data, "all", config.preprocess())
    found = lookalike.pairs(images)

    assert recipe.alike(images) == recipe.alike(images) == found


def test_stopped_or_killed_within_an_epoch_and_resumed_gives_the_same_bits(
    run: Run, config: TrainConfig, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "REPORT_SECONDS", 0.0)  # so that every step can be stopped at

    def seventh(record: object) -> bool:
        there = isinstance(record, training.Progress) and record.step == 7
        if there:  # in the middle of the second epoch; only the first is on disk
            shutil.copytree(tmp_path / "run", tmp_path / "killed")
        return there

    with pytest.raises(Stopped):
        recipe.pretrain(config, tmp_path / "run", machine, watch=seventh)

    for name in ("run", "killed"):
        again = resume(Run(tmp_path / name), machine)
        assert [e.train_loss for e in again.epochs] == [e.train_loss for e in run.epochs]
        found = (again.path / "last.safetensors").read_bytes()
        assert found == (run.path / "last.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("hours", "rate", "epochs", "size"),
    [
        (1.0, 100.0, 3, 100_000),
        (0.5, 1000.0, 18, 100_000),
        (0.01, 10.0, 1, 360),
        (1e-6, 1.0, 1, 16),
    ],
)
def test_hours_become_epochs_that_fit_into_them(
    hours: float, rate: float, epochs: int, size: int
) -> None:
    config = recipe.settings({"data": "fonts:", "batch_size": 16})
    found = recipe.lasting(config, hours, rate)

    assert (found.epochs, found.epoch_size) == (epochs, size)


def test_a_length_in_hours_is_measured_and_kept(
    config: TrainConfig, machine: Machine, tmp_path: Path
) -> None:
    config = config.model_copy(update={"epochs": None, "prefer": {}})
    run = recipe.pretrain(config, tmp_path / "run", machine, hours=1e-5)

    assert run.result is not None and run.config.epochs is not None
    assert run.epochs[-1].examples == run.config.epochs * (run.config.epoch_size or 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "mnist5k"}, "source must be fonts:DIR to pretrain on, got 'mnist5k'."),
        ({"split": "stratified"}, "split must be writer, so that whole faces are held out."),
        (
            {"only": ("a",)},
            "only must be left out of a pretraining. Name the characters behind #, as in "
            "fonts:DIR#greek.",
        ),
        (
            {"per_class": 3},
            "per_class must be left out of a pretraining. Name the characters behind #, as in "
            "fonts:DIR#greek.",
        ),
        (
            {"fit": "stretch"},
            "fit must be glyph, without place, for a backbone to teach on, got fit 'stretch'.",
        ),
        (
            {"place": True},
            "fit must be glyph, without place, for a backbone to teach on, got fit 'glyph' with "
            "place.",
        ),
        ({"balance": 2}, "balance must be at most 1.0, got 2."),
        ({"prefer": {"hand": 0}}, "prefer.hand must be above 0.0, got 0."),
    ],
)
def test_a_bad_setting_is_named_with_its_rule(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        recipe.settings({"data": "fonts:somewhere", **settings})


def test_hours_and_epochs_do_not_go_together(
    config: TrainConfig, machine: Machine, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        recipe.pretrain(config, tmp_path / "run", machine, hours=1.0)

    assert str(error.value) == "hours must be left out where epochs are given, or epochs."


def test_a_folder_that_is_not_there_is_not_preferred(
    config: TrainConfig, machine: Machine, tmp_path: Path
) -> None:
    config = config.model_copy(update={"prefer": {"serifs": 2.0}})
    with pytest.raises(ConfigError) as error:
        recipe.pretrain(config, tmp_path / "run", machine)

    assert str(error.value) == (
        "prefer must name folders of faces (sans, serif) or faces, got 'serifs'. "
        "Did you mean 'serif'?"
    )
    assert not (tmp_path / "run").exists()


# The bundle


def raw_features(run: Run, images: ImageSet) -> np.ndarray:
    """By torch, in float32: (N, D)."""
    with torch.inference_mode():
        seen = normalised(to_unit(images.images), run.preprocess)
        return run.model().forward_features(seen).numpy()  # type: ignore[operator,no-any-return]


def features(run: Run, images: ImageSet) -> np.ndarray:
    """From the centre of a few faces of each character, of length 1: (N, D)."""
    return unit(raw_features(run, images) - centre(run))


def centre(run: Run) -> np.ndarray:
    """The mean of the characters, by the faces that the export looks at."""
    return np.mean([found.mean(axis=0) for found in looked_at(run)], axis=0)


def looked_at(run: Run) -> list[np.ndarray]:
    """Raw features of the first, the last and two other faces of each character."""
    train = backbone.load(run).train
    found = raw_features(run, train)
    rows = [np.flatnonzero(train.labels == label) for label in range(len(train.classes))]
    chosen = [np.unique(np.linspace(0, len(own) - 1, 4).astype(int)) for own in rows]
    return [found[own[some]] for own, some in zip(rows, chosen, strict=True)]


def from_centre(run: Run, machine: Machine) -> prints.Features:
    return prints.centred(run.model(), backbone.load(run).train, run.preprocess, machine)


def vectors(exported: Exported) -> np.ndarray:
    head = exported.bundle.head
    assert head is not None and head.vectors.dtype == np.int8
    return head.vectors * head.scale[:, None] / SCALE


def test_a_character_is_the_mean_of_its_training_faces(exported: Exported, run: Run) -> None:
    train = backbone.load(run).train
    found = features(run, train)
    means = unit(np.stack([found[train.labels == label].sum(axis=0) for label in range(12)]))

    assert exported.bundle.classes == train.classes == tuple(sorted(CHARACTERS))
    largest = np.abs(means).max(axis=1, keepdims=True)
    assert (np.abs(vectors(exported) - means) <= largest / 250).all()


def test_faces_count_as_they_are_preferred(run: Run, machine: Machine) -> None:
    """Nothing for the sans leaves the mean of the serifs."""
    data = backbone.load(run)
    found = features(run, data.train)
    serif = np.array(["Serif" in face for face in data.train.writers or ()])
    known = origins(run.config.data)
    seen = from_centre(run, machine)
    gathered = prints.gather(seen, data.train, known, run.preprocess, machine)

    assert gathered.kinds == ("sans", "serif")
    for label in range(12):
        own = found[(data.train.labels == label) & serif].sum(axis=0)
        mean = prints.means(gathered, {"sans": 0.0})[label]
        np.testing.assert_allclose(mean, unit(own[None])[0], atol=1e-4)
    weighed = gathered.sums[0] + 3 * gathered.sums[1]
    np.testing.assert_allclose(prints.means(gathered, {"serif": 3.0}), unit(weighed), atol=1e-6)
    with pytest.raises(ConfigError, match="numbers of at least 0, got 'serif' with nan"):
        prints.means(gathered, {"serif": float("nan")})
    with pytest.raises(ConfigError) as error:
        prints.means(gathered, {"hand": 3.0})
    assert str(error.value) == (
        "prefer must name folders of faces (sans, serif) with numbers of at least 0, got 'hand' "
        "with 3.0."
    )


def test_the_weights_that_the_training_found_are_the_other_vectors(
    run: Run, machine: Machine, tmp_path: Path
) -> None:
    made = backbone.export(run, tmp_path / "own.siglum", machine, vectors="weights")
    head = run.model().head
    assert isinstance(head, torch.nn.Linear)
    seen = from_centre(run, machine)
    lengths = [np.linalg.norm(found, axis=1).mean() for found in looked_at(run)]
    assert seen.length == pytest.approx(np.mean(lengths), rel=1e-3)
    own = unit(seen.length * unit(head.weight.detach().numpy()) - centre(run))

    found = vectors(made)

    for row, name in zip(found, made.bundle.classes, strict=True):
        label = run.classes.index(run.config.rename.get(name, name))
        np.testing.assert_allclose(row, own[label], atol=np.abs(own[label]).max() / 250)


def test_what_only_held_out_faces_draw_is_their_mean_or_has_no_trained_vector(
    run: Run, machine: Machine
) -> None:
    data = backbone.load(run)
    assert data.val is not None
    train = data.train.subset(np.flatnonzero(data.train.labels != 3))
    without = replace(data, train=train)
    known, seen = origins(run.config.data), from_centre(run, machine)

    means = prints.vectors_of(seen, run, without, known, machine, "means", {})
    trained = prints.vectors_of(seen, run, without, known, machine, "weights", {})
    both = prints.vectors_of(seen, run, without, known, machine, "both", {})

    mean = features(run, data.val)[data.val.labels == 3].sum(axis=0)
    np.testing.assert_allclose(means[3], unit(mean[None])[0], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 1, atol=1e-5)
    expected = np.arange(12) != 3
    np.testing.assert_allclose(np.linalg.norm(trained, axis=1), expected, atol=1e-5)
    np.testing.assert_allclose(both, unit(means + trained), atol=1e-5)


def test_it_opens_and_names_what_lies_nearest(exported: Exported, run: Run) -> None:
    data = backbone.load(run)
    assert data.val is not None
    recogniser = load(exported.path)

    logits = recogniser.logits(data.val.images)

    expected = features(run, data.val) @ vectors(exported).T
    np.testing.assert_allclose(logits / SCALE, expected, atol=2e-3)
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9


def test_the_card_says_what_the_bundle_reads_of_held_out_faces(
    exported: Exported, run: Run
) -> None:
    data, card = backbone.load(run), exported.bundle.card
    assert data.val is not None
    answers = load(exported.path).logits(data.val.images).argmax(axis=1)
    one = [run.config.rename.get(name, name) for name in data.val.classes]

    assert card.measured["held-out faces"].hits == int((answers == data.val.labels).sum())
    alike = [one[a] == one[b] for a, b in zip(answers, data.val.labels, strict=True)]
    share = card.measured["look-alikes as one"]
    assert (share.hits, share.total) == (sum(alike), len(data.val))
    assert share.low < share.hits / share.total < share.high
    assert card.data["counts"] == {"train": len(data.train), "val": len(data.val)}
    assert sum(card.data["faces"]["train"].values()) == len(set(data.train.writers or ()))
    assert card.settings["alike"].split() == sorted(set(run.config.rename.values()))
    assert card.settings["prefer"] == FACTORS and card.licence == "CC0-1.0"
    assert exported.bundle.calibration == backbone.GUESS and backbone.GUESS.pictures == 0


def test_golden_pictures_are_two_of_held_out_faces(exported: Exported, run: Run) -> None:
    held = backbone.load(run).val
    assert held is not None
    golden = exported.bundle.golden.images

    assert len(golden) == 2
    assert all((picture == held.images).all(axis=(1, 2, 3)).any() for picture in golden)


def test_weights_take_two_bytes_and_vectors_one(exported: Exported) -> None:
    bundle = exported.bundle
    model = onnx.load_from_string(bundle.model)
    kinds = {len(t.dims) > 1: t.data_type for t in model.graph.initializer if t.data_type != 7}

    assert kinds[True] == TensorProto.FLOAT16
    assert len(bundle.model) < 2 * bundle.card.parameters + 12_000
    onnx.checker.check_model(model, full_check=True)


def test_a_network_that_16_bits_do_not_hold_is_refused(exported: Exported, run: Run) -> None:
    """And any other that computes something else: here the same network with other weights."""
    torch.manual_seed(1)
    other = prints.Features(models.build("sign_net", 3, 1, 16, SMALL).eval())
    images = backbone.load(run).train.take(slice(0, 8))
    with pytest.raises(RunError) as error:
        backbone.compare(Network(exported.bundle.model, run.preprocess), other, images, run)

    assert str(error.value).startswith(
        f"{run.path} must give the same features in 16 bits as by torch, to a cosine of 0.999, got "
    )


@pytest.mark.slow
def test_two_exports_are_the_same_bytes(
    exported: Exported, run: Run, machine: Machine, tmp_path: Path
) -> None:
    again = backbone.export(run, tmp_path / "again.siglum", machine, "means", licence="CC0-1.0")

    assert again.path.read_bytes() == exported.path.read_bytes()


def test_other_fonts_than_it_was_trained_on_are_refused(
    run: Run, machine: Machine, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    env = json.loads((tmp_path / "run/env.json").read_text())
    env["data"]["train"] = "0" * 32
    (tmp_path / "run/env.json").write_text(json.dumps(env))

    with pytest.raises(RunError) as error:
        backbone.export(Run(tmp_path / "run"), tmp_path / "x.siglum", machine)

    assert str(error.value) == (
        f"{tmp_path / 'run'} must be exported with the pictures it was trained on; those of "
        f"{run.config.data} have changed. Train a new run."
    )


def test_signs_trained_on_beside_are_not_in_the_bundle(
    config: TrainConfig, exported: Exported, machine: Machine, tmp_path: Path
) -> None:
    changes = {"beside": "invented:6x5", "epochs": 1, "rename": {}, "prefer": {"serif": 2.0}}
    run = recipe.pretrain(config.model_copy(update=changes), tmp_path / "run", machine)
    found = backbone.export(run, tmp_path / "x.siglum", machine)

    assert [name for name in run.classes if name.startswith("invented")] == [
        f"invented {number}" for number in range(6)
    ]
    assert found.bundle.classes == exported.bundle.classes
    assert found.bundle.card.settings["beside"] == "invented:6x5"
    assert found.bundle.card.measured["held-out faces"].total == (
        exported.bundle.card.measured["held-out faces"].total
    )


def test_a_run_on_other_pictures_is_no_backbone(
    tiny_run: Run, machine: Machine, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        backbone.export(tiny_run, tmp_path / "x.siglum", machine)

    assert str(error.value) == (
        f"source must be fonts:DIR, whose faces are known, got '{tiny_run.config.data}'."
    )
