"""Pictures that came cut out are known by it, and others are brought into their frame."""

from pathlib import Path

import numpy as np
import pytest
from photographing import coverage, likeness, on_paper

from siglum.config import Preprocess
from siglum.images import ink, sources
from siglum.images.imageset import ImageSet

MNIST = 20 / 28


def test_the_bundled_digits_fill_20_of_28_pixels() -> None:
    assert ink.margins(sources.load("mnist5k")) == MNIST


def test_noise_anything_at_the_border_and_ink_of_any_place_have_no_frame() -> None:
    digits = sources.load("mnist5k", "test").images[:100]
    labels = np.zeros(100, dtype=int)
    noise = np.random.RandomState(0).randint(0, 256, (100, 1, 28, 28)).astype(np.uint8)
    moved = np.stack([np.roll(d, i % 9 - 4, 2) for i, d in enumerate(digits)])
    tight = digits[:, :, 4:24, 4:24]

    for pictures in (noise, moved, tight, 255 - digits):
        assert ink.margins(ImageSet.from_arrays(pictures, labels, ("a",))) is None


def test_mnist_in_its_own_frame_is_nearly_what_it_was() -> None:
    digits = sources.load("mnist5k", "test").images[::10, 0]
    alike = [likeness(d, ink.normalise(d, 28, MNIST)[0]) for d in digits]

    assert np.mean(alike) > 0.98 and np.quantile(alike, 0.01) > 0.94


def test_a_set_in_its_frame_passes_as_it_is_and_another_is_brought_into_it(signs: Path) -> None:
    preprocess = Preprocess(margins=MNIST)
    plain = sources.load("mnist5k", "test")

    same = sources.load("mnist5k", "test", preprocess)
    other = sources.load(f"folder:{signs}", preprocess=preprocess)

    np.testing.assert_array_equal(same.images, plain.images)
    marked = other.images[:, 0] > 0
    sides = np.maximum(marked.any(axis=1).sum(axis=1), marked.any(axis=2).sum(axis=1))
    assert sides == pytest.approx(20, abs=1)


def test_a_photo_is_seen_in_the_frame_of_the_training_pictures() -> None:
    page = on_paper(coverage("four"), (220, 215, 205), (60, 60, 70))

    seen, found = ink.preprocess_image(page, Preprocess(margins=MNIST))

    assert found is not None and found.inverted
    np.testing.assert_array_equal(seen[0], ink.normalise(page, 28, MNIST)[0])
