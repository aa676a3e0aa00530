"""Teaching: print, samples, both; adding is fitting anew; what is said of it is true."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_backbone import CHARACTERS, a_backbone, drawn, printed
from small_bundles import SIZE

from siglum.errors import ConfigError, DataError
from siglum.images.imageset import ImageSet
from siglum.images.ink import InkReport
from siglum.recogniser import backbone as backbones
from siglum.recogniser import bundle as bundles
from siglum.recogniser.findings import findings
from siglum.recogniser.lesson import LeftOut, Lesson, added, begin, of_images, removed
from siglum.recogniser.predict import load
from siglum.recogniser.teach import finished, learn

BACKBONE = a_backbone()
PLACE = replace(InkReport(), box=(0, 0, 8, 8), height=0.5, width=0.4)


def as_images(ink: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> ImageSet:
    """A set as `images.load` gives it, with planes of place."""
    planes = np.full((len(ink), 4, SIZE, SIZE), 128, np.uint8)
    planes[:, 0] = ink
    return ImageSet.from_arrays(planes, labels, classes)


def a_lesson(classes: tuple[str, ...], count: int, noise: float = 0.3) -> Lesson:
    """So many drawings of each class."""
    lesson = begin(BACKBONE, classes)
    if not count:
        return lesson
    ink = [drawn(CHARACTERS.index(name), count, noise) for name in classes]
    labels = np.repeat(np.arange(len(classes)), count)
    return of_images(BACKBONE, lesson, as_images(np.concatenate(ink), labels, classes))[0]


def test_characters_are_read_by_print_alone() -> None:
    classes = ("α", "β", "c")
    recogniser = learn(BACKBONE, begin(BACKBONE, classes)).recogniser
    ink = np.concatenate([drawn(CHARACTERS.index(name), 20, 0.2) for name in classes])

    answers = recogniser.read(ink[:, None]).probs.argmax(axis=1)

    assert (answers == np.repeat([0, 1, 2], 20)).mean() > 0.9


def test_signs_without_print_are_read_by_samples() -> None:
    lesson = begin(BACKBONE, ("left", "right"))
    ink = np.concatenate([drawn(0, 5), drawn(1, 5)])
    labels = np.repeat([0, 1], 5)
    lesson, _ = of_images(BACKBONE, lesson, as_images(ink, labels, lesson.classes))
    recogniser = learn(BACKBONE, lesson).recogniser

    new = np.concatenate([drawn(0, 30, seed=1), drawn(1, 30, seed=1)])
    answers = recogniser.read(new[:, None]).probs.argmax(axis=1)

    assert (answers == np.repeat([0, 1], 30)).mean() > 0.9


def test_samples_outweigh_print_that_is_another_sign() -> None:
    """Whoever draws b for a teaches so, by and by."""
    lesson = begin(BACKBONE, ("a", "b"))
    ink = np.concatenate([drawn(1, 12), drawn(0, 12)])
    lesson, _ = of_images(BACKBONE, lesson, as_images(ink, np.repeat([0, 1], 12), ("a", "b")))
    recogniser = learn(BACKBONE, lesson).recogniser

    answers = recogniser.read(drawn(1, 30, seed=1)[:, None]).probs.argmax(axis=1)

    assert (answers == 0).mean() > 0.9


def test_adding_one_by_one_is_teaching_all_at_once() -> None:
    together = a_lesson(("a", "b", "γ"), 3)
    one_by_one = begin(BACKBONE, ("a", "b", "γ"))
    samples = together.samples
    for ink, label in zip(samples.ink, samples.labels, strict=True):
        one_by_one = added(BACKBONE, one_by_one, ink, int(label), PLACE)
    new = drawn(2, 10)[:, None]

    np.testing.assert_allclose(
        learn(BACKBONE, one_by_one).recogniser.logits(new),
        learn(BACKBONE, together).recogniser.logits(new),
        atol=1e-4,
    )


def test_what_is_removed_was_never_taught() -> None:
    lesson = a_lesson(("a", "b"), 3)
    wrong = added(BACKBONE, lesson, drawn(5, 1)[0], 0, PLACE)
    again = removed(wrong, [len(lesson)])

    new = drawn(1, 4)[:, None]
    assert np.array_equal(
        learn(BACKBONE, again).recogniser.logits(new),
        learn(BACKBONE, lesson).recogniser.logits(new),
    )


def test_outsiders_are_none_of_the_classes() -> None:
    """Characters of which one class is taught are no strangers to it; the others may be."""
    vectors = backbones.prints(BACKBONE, ("a", "b"))
    others = backbones.outsiders(BACKBONE, vectors, 100)

    assert len(others) == len(CHARACTERS) - 2
    assert (others @ vectors.T).max() < backbones.ALIKE
    assert len(backbones.outsiders(BACKBONE, vectors, 5)) == 5


def test_a_taught_bundle_is_saved_and_read(tmp_path: Path) -> None:
    lesson = a_lesson(("a", "b", "γ"), 20)
    taught = learn(BACKBONE, lesson)
    made = finished(taught, "three letters", "siglum teach")
    bundles.save(made, tmp_path / "x.siglum")
    opened = load(tmp_path / "x.siglum")

    new = drawn(1, 10, seed=3)[:, None]
    assert np.array_equal(opened.logits(new), taught.recogniser.logits(new))
    assert opened.bundle.card.measured["left out one by one"].total == 60
    np.testing.assert_array_equal(opened.bundle.samples.ink, lesson.samples.ink)  # type: ignore[union-attr]


def test_what_is_left_out_is_said() -> None:
    ink = np.concatenate([drawn(0, 2), drawn(0, 1), np.zeros((1, SIZE, SIZE), np.uint8)])
    ink = np.concatenate([ink, drawn(0, 1), drawn(1, 1)])
    labels = np.array([0, 0, 0, 0, 1, 1])
    lesson, left_out = of_images(
        BACKBONE, begin(BACKBONE, ("a", "b")), as_images(ink, labels, ("a", "b"))
    )

    assert left_out == ((3,), (2,), ((0, 4),))
    assert len(lesson) == 4


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a",), "classes must be 2 to 10,000, got 1. A recogniser tells signs apart, so name at"),
        (("a", "b", "a"), "classes must be named once each, got 'a' twice."),
        ([str(n) for n in range(10_001)], "classes must be 2 to 10,000, got 10001."),
    ],
)
def test_classes_must_be_several_and_differ(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        begin(BACKBONE, names)
    assert message in str(error.value)


def test_blank_ink_teaches_nothing() -> None:
    lesson = begin(BACKBONE, ("a", "b"))
    blank = np.zeros((2, SIZE, SIZE), np.uint8)
    with pytest.raises(DataError, match="a sample of 'b' must show ink, got none"):
        added(BACKBONE, lesson, blank[0], 1, InkReport())
    with pytest.raises(DataError, match="must show ink in its pictures, got none that does"):
        of_images(BACKBONE, lesson, as_images(blank, np.array([0, 1]), ("a", "b")))


def test_a_thousand_classes() -> None:
    names = tuple(f"sign {n}" for n in range(1000))
    lesson = begin(BACKBONE, names)
    random = np.random.RandomState(0)
    ink = (random.rand(2000, SIZE, SIZE) < 0.5).astype(np.uint8) * 255
    labels = np.repeat(np.arange(1000), 2)
    lesson, _ = of_images(BACKBONE, lesson, as_images(ink, labels, names))
    taught = learn(BACKBONE, lesson)

    assert taught.recogniser.logits(ink[:3, None]).shape[1] >= 1000
    assert taught.right is not None and taught.right.total == 2000


def test_a_class_of_one_sample_is_not_judged() -> None:
    lesson = begin(BACKBONE, ("x1", "x2"))
    ink = np.concatenate([drawn(0, 1), drawn(1, 4)])
    lesson, _ = of_images(BACKBONE, lesson, as_images(ink, np.repeat([0, 1], [1, 4]), ("x1", "x2")))
    taught = learn(BACKBONE, lesson)

    assert taught.right is not None and (taught.right.hits, taught.right.total) == (4, 4)
    only = removed(lesson, [1, 2, 3])
    assert learn(BACKBONE, only).right is None


def test_neither_print_nor_sample_is_said() -> None:
    assert learn(BACKBONE, begin(BACKBONE, ("a", "no such sign"))).unknown == ("no such sign",)


def test_findings_name_the_confused_class_and_ask_for_more_of_it() -> None:
    """Two signs that are drawn alike half of the time, and one that never is."""
    lesson = begin(BACKBONE, ("x1", "x2", "other"))
    alike = np.where(np.arange(8)[:, None, None] % 2, drawn(0, 8), drawn(1, 8))
    ink = np.concatenate([drawn(0, 8, seed=2), alike, drawn(7, 8)])
    labels = np.repeat([0, 1, 2], 8)
    lesson, _ = of_images(BACKBONE, lesson, as_images(ink, labels, lesson.classes))
    said = findings(BACKBONE, lesson, learn(BACKBONE, lesson))

    assert said.right is not None and said.right.hits < 24
    assert {said.confusions[0].meant, said.confusions[0].read} == {"x1", "x2"}
    assert said.advice[0].name in ("x1", "x2")
    assert "it is taken for 'x" in str(said.advice[0])
    assert [point.samples for point in said.curve] == [1, 2, 3, 5]
    assert said.untested == ()


def test_findings_without_samples() -> None:
    lesson = begin(BACKBONE, ("a", "b"))
    said = findings(BACKBONE, lesson, learn(BACKBONE, lesson))

    assert said.right is None and said.curve == () and said.untested == ("a", "b")
    assert "known from print alone" in said.advice[0].why


def test_a_backbone_of_ones_own_must_be_one(tmp_path: Path) -> None:
    bundles.save(BACKBONE.bundle, tmp_path / "own.siglum")
    assert backbones.given(tmp_path / "own.siglum").classes == CHARACTERS

    lab = replace(
        BACKBONE.bundle, preprocess=BACKBONE.bundle.preprocess.model_copy(update={"resize": "pad"})
    )
    bundles.save(lab, tmp_path / "lab.siglum")
    with pytest.raises(DataError, match="must be a backbone"):
        backbones.given(tmp_path / "lab.siglum")


def test_print_of_a_character_is_its_own() -> None:
    features = backbones.features(BACKBONE, printed())
    prints = backbones.prints(BACKBONE, CHARACTERS)

    assert ((features @ prints.T).argmax(axis=1) == np.arange(len(CHARACTERS))).all()
    assert not backbones.prints(BACKBONE, ("nothing like that",)).any()


def test_signs_that_differ_in_size_alone_are_told_apart_and_never_refused_for_it() -> None:
    """Also where ink is wider than its picture is high, which samples keep as 1, or was cut out."""
    lesson = begin(BACKBONE, ("small", "large"))
    ink = np.concatenate([drawn(0, 30), drawn(0, 30, seed=1)])
    images = as_images(ink, np.repeat([0, 1], 30), lesson.classes).images.copy()
    jitter = np.random.RandomState(0).randint(-5, 6, 60)
    for label, height in ((0, 60), (1, 200)):
        images[30 * label :][:30, 1] = (height + jitter[30 * label :][:30])[:, None, None]
    images[:, 2] = 255
    lesson, _ = of_images(
        BACKBONE, lesson, ImageSet.from_arrays(images, np.repeat([0, 1], 30), lesson.classes)
    )
    recogniser = learn(BACKBONE, lesson).recogniser
    new = np.concatenate([drawn(0, 30, seed=2), drawn(0, 30, seed=3)])[:, None]
    heights = np.repeat([60, 200], 30) / 255
    wide = np.stack([heights, np.full(60, 1.3), np.full(60, 0.5)], axis=1).astype("f4")
    cut = np.tile(np.array([[0.95, 0.6, 0.5]], "f4"), (60, 1))

    reading = recogniser.read(new, wide)
    head = recogniser.bundle.head

    assert head is not None and head.whereabouts is not None
    assert (reading.probs.argmax(axis=1) == np.repeat([0, 1], 30)).mean() > 0.9
    assert reading.none.mean() <= 0.1
    assert (recogniser.read(new, cut).none == reading.none).all()
    assert (recogniser.read(new).none == reading.none).all()


def test_a_recogniser_that_was_taught_is_no_backbone(tmp_path: Path) -> None:
    for lesson in (a_lesson(("a", "b"), 3), begin(BACKBONE, ("a", "b"))):
        file = tmp_path / f"{len(lesson)}.siglum"
        bundles.save(finished(learn(BACKBONE, lesson), "a title", ""), file)
        with pytest.raises(DataError, match="must be a backbone, got a recogniser that was taught"):
            backbones.given(file)


def test_a_repeated_sample_is_left_out_whoever_else_has_that_picture() -> None:
    lesson = begin(BACKBONE, ("a", "b"))
    ink = np.repeat(drawn(0, 1), 3, axis=0)
    images = as_images(ink, np.array([0, 1, 1]), lesson.classes)
    lesson, left_out = of_images(BACKBONE, lesson, images)

    assert left_out == LeftOut(blank=(), repeated=(2,), contradicting=((0, 1),))
    assert lesson.samples.labels.tolist() == [0, 1]


def test_advice_counts_what_a_sign_is_taken_for_by_that_alone() -> None:
    lesson = begin(BACKBONE, ("x1", "x2", "x3"))
    ink = np.concatenate([drawn(0, 8, seed=seed) for seed in range(3)])
    images = as_images(ink, np.repeat([0, 1, 2], 8), lesson.classes)
    lesson, _ = of_images(BACKBONE, lesson, images)
    said = findings(BACKBONE, lesson, learn(BACKBONE, lesson))
    most = {one.meant: one for one in reversed(said.confusions)}

    assert len(said.confusions) > 3
    for advice in said.advice:
        one = most[advice.name]
        assert advice.why == f"it is taken for {one.read!r} ({one.times} of 8)."
