"""Teach from fonts, from drawings, from both; diagnostics measure left-out drawings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small_bundles import CHARACTERS, a_backbone, draw

from siglum.errors import ConfigError, DataError
from siglum.images.ink import InkReport
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import Samples
from siglum.recogniser.fit import Fitted, add, diagnose, fit, suggest, to_bundle
from siglum.recogniser.predict import Input, Recogniser, load, open_backbone

BACKBONE = a_backbone()
AB = ("a", "b")


def taught(classes: tuple[str, ...], *ink: NDArray[np.uint8]) -> Fitted:
    """Teach drawings (N, S, S) of each class, all of one size and position."""
    labels = np.repeat(range(len(ink)), [*map(len, ink)])
    positions = np.full((len(labels), 3), 0.5, np.float32)
    return fit(BACKBONE, classes, Samples(np.concatenate(ink), labels, positions))


def letters(classes: tuple[str, ...], count: int) -> Fitted:
    """Teach drawings of characters that the fonts have."""
    return taught(classes, *(draw(CHARACTERS.index(name), count) for name in classes))


def predict(recogniser: Recogniser, ink: NDArray[np.uint8]) -> NDArray[np.int64]:
    return recogniser.predict_arrays(ink[:, None]).probs.argmax(axis=1)


def test_characters_are_recognised_from_fonts_alone() -> None:
    classes = ("α", "β", "c")
    ink = np.concatenate([draw(CHARACTERS.index(name), 20, 0.2) for name in classes])

    labels = predict(fit(BACKBONE, classes).recogniser, ink)

    assert (labels == np.repeat([0, 1, 2], 20)).mean() > 0.9


def test_signs_that_no_font_has_are_recognised_from_drawings() -> None:
    fitted = taught(("left", "right"), draw(0, 5), draw(1, 5))
    new = np.concatenate([draw(0, 30, seed=1), draw(1, 30, seed=1)])

    assert (predict(fitted.recogniser, new) == np.repeat([0, 1], 30)).mean() > 0.9


def test_drawings_outweigh_fonts_that_show_another_sign() -> None:
    """The user draws b for a, and a for b."""
    fitted = taught(AB, draw(1, 12), draw(0, 12))

    assert (predict(fitted.recogniser, draw(1, 30, seed=1)) == 0).mean() > 0.9


def test_adding_one_by_one_equals_adding_all_at_once() -> None:
    together = letters(("a", "b", "γ"), 3)
    recogniser = fit(BACKBONE, AB).recogniser
    for ink, label in zip(together.samples.ink, together.samples.labels, strict=True):
        one = Input(ink[None], False, InkReport(height=0.5, width=0.5), None)
        add(recogniser, "abγ"[label], [one])
    new = draw(2, 10)[:, None]

    assert recogniser.classes == ("a", "b", "γ")
    expected = together.recogniser.logits(new)
    np.testing.assert_allclose(recogniser.logits(new), expected, atol=1e-4)
    with pytest.raises(DataError, match="No ink found in the drawings of 'b'"):
        add(recogniser, "b", [Input(new[0] * 0, False, None, None)])


def test_a_taught_bundle_survives_saving(tmp_path: Path) -> None:
    fitted = letters(("a", "b", "γ"), 20)
    bundles.save(to_bundle(fitted, "three letters", "siglum teach"), tmp_path / "x.siglum")
    opened = load(tmp_path / "x.siglum")
    new = draw(1, 10, seed=3)[:, None]

    assert np.array_equal(opened.logits(new), fitted.recogniser.logits(new))
    assert opened.bundle.card.measured["leave-one-out"].total == 60
    assert opened.bundle.samples is not None
    np.testing.assert_array_equal(opened.bundle.samples.ink, fitted.samples.ink)


def test_a_drawing_is_accepted_by_its_likeness_to_one_other_drawing() -> None:
    """A class has two shapes, and the mean of both looks like neither."""
    two = np.concatenate([draw(0, 30), draw(1, 30)])
    fitted = taught(("x", "y"), two, draw(2, 30))
    strangers = np.concatenate([draw(label, 20, seed=1) for label in (8, 9)])[:, None]
    own = np.concatenate([draw(label, 20, seed=1) for label in (0, 1)])[:, None]

    assert fitted.recogniser.predict_arrays(own).rejected.mean() < 0.1
    assert fitted.recogniser.predict_arrays(strangers).rejected.mean() > 0.9


def test_a_drawing_far_from_the_others_of_its_class_is_recognised_again() -> None:
    """Five drawings of one shape and one of another."""
    fitted = taught(("x1", "x2"), np.concatenate([draw(1, 5), draw(0, 1)]), draw(3, 6))

    assert (predict(fitted.recogniser, draw(0, 20, 0.1, seed=1)) == 0).mean() > 0.9


def test_leave_one_out_equals_fitting_without_the_drawing() -> None:
    """Of classes with and without fonts, one with two shapes."""
    names, ink = ("a|b", "γ", "new"), np.concatenate([draw(n, 3) for n in (0, 1, 2, 8)])
    labels, positions = np.repeat([0, 1, 2], [6, 3, 3]), np.full((12, 3), 0.5, np.float32)
    fitted = fit(BACKBONE, names, Samples(ink, labels, positions))

    for row in range(12):
        rest = np.arange(12) != row
        some = Samples(ink[rest], labels[rest], positions[rest])
        expected = fit(BACKBONE, names, some).recogniser.logits(ink[row : row + 1, None])[0, :3]
        np.testing.assert_allclose(fitted.loo_logits[row], expected, atol=0.02)


def test_a_class_has_the_shapes_that_its_name_lists(tmp_path: Path) -> None:
    recogniser = fit(BACKBONE, ("a|α", "b")).recogniser
    new = np.concatenate([draw(CHARACTERS.index(name), 20) for name in "aαb"])
    bundles.save(to_bundle(recogniser.fitted), tmp_path / "x.siglum")
    opened = load(tmp_path / "x.siglum")

    assert opened.classes == ("a", "b") and opened.bundle.shapes == {"a": ("a", "α")}
    assert (predict(opened, new) == np.repeat([0, 0, 1], 20)).mean() > 0.9
    with pytest.raises(ConfigError, match="'α' must be a shape of one class, got 2"):
        add(recogniser, "α", [Input(new[:1], False, None, None)])


def test_classes_must_not_be_too_many() -> None:
    with pytest.raises(ConfigError, match="classes must be 2 to 12,000, got 12,001"):
        fit(BACKBONE, [str(n) for n in range(12_001)])


def test_the_only_drawing_of_a_sign_without_font_is_not_counted() -> None:
    accuracy = taught(("x1", "x2"), draw(0, 1), draw(1, 4)).accuracy

    assert accuracy is not None and (accuracy.hits, accuracy.total) == (4, 4)


def test_diagnostics_name_the_confused_classes_and_suggest_them_first() -> None:
    """Two signs are drawn alike half of the time, and one never."""
    mixed = np.where(np.arange(8)[:, None, None] % 2, draw(0, 8), draw(1, 8))
    found = diagnose(taught(("x1", "x2", "y"), draw(0, 8, seed=2), mixed, draw(7, 8)))

    assert found["accuracy"]["hits"] < 24
    first = found["confusions"][0]
    assert {first["label"], first["predicted"]} == {"x1", "x2"}
    assert found["suggestions"][0]["label"] in ("x1", "x2")
    assert [point["samples_per_class"] for point in found["learning_curve"]] == [1, 2, 3, 5]
    assert found["untested"] == []


def test_classes_that_only_fonts_show_are_untested() -> None:
    found = diagnose(fit(BACKBONE, AB))

    assert found["accuracy"] is None and found["learning_curve"] == []
    assert found["untested"] == [*AB]


def test_signs_that_differ_in_size_alone_are_separated_and_never_rejected_for_it() -> None:
    """Also where ink is wider than its image is high, or the position is unknown."""
    heights = np.repeat([60, 200], 30) / 255
    jitter = np.random.RandomState(0).uniform(-0.02, 0.02, 60)
    positions = np.stack([heights + jitter, np.ones(60), np.full(60, 0.5)], axis=1).astype("f4")
    samples = Samples(
        np.concatenate([draw(0, 30), draw(0, 30, seed=1)]), np.repeat([0, 1], 30), positions
    )
    recogniser = fit(BACKBONE, ("small", "large"), samples).recogniser
    new = np.concatenate([draw(0, 30, seed=2), draw(0, 30, seed=3)])[:, None]
    wide = np.stack([heights, np.full(60, 1.3), np.full(60, 0.5)], axis=1).astype("f4")
    cropped = np.tile(np.array([[0.95, 0.6, 0.5]], "f4"), (60, 1))

    predictions = recogniser.predict_arrays(new, wide)

    assert recogniser.head.position is not None
    assert (predictions.probs.argmax(axis=1) == np.repeat([0, 1], 30)).mean() > 0.9
    assert predictions.rejected.mean() <= 0.1
    for other in (cropped, None):
        assert recogniser.predict_arrays(new, other).rejected.mean() <= 0.1


def test_a_backbone_is_opened_and_other_bundles_are_refused(tmp_path: Path) -> None:
    bundles.save(BACKBONE.bundle, tmp_path / "own.siglum")
    assert open_backbone(tmp_path / "own.siglum").classes == CHARACTERS

    resized = BACKBONE.preprocess.model_copy(update={"resize": "pad"})
    for bundle in (replace(BACKBONE.bundle, preprocess=resized), to_bundle(letters(AB, 3))):
        bundles.save(bundle, tmp_path / "other.siglum")
        with pytest.raises(DataError, match="is not a backbone"):
            open_backbone(tmp_path / "other.siglum")


def test_suggestions_are_ranked_by_urgency() -> None:
    names, counts = ("sure", "a", "b", "few", "font", "new"), (9, 4, 4, 1, 0, 0)
    errors = {(1, 2): 3, (1, 0): 1, (2, 1): 1}

    suggestions = suggest(names, counts, errors, [name == "new" for name in names])

    assert [names[label] for label in suggestions] == ["new", "font", "a", "few", "b"]
    kinds = ["unknown", "untested", "confused", "few_drawings", "confused"]
    assert [one["kind"] for one in suggestions.values()] == kinds
    assert suggestions[1]["message"] == "3 of 4 mistaken for 'b'"
    assert suggestions[3]["message"] == "1 drawing, 2 more help"
