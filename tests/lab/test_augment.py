"""Contracts over the augmentations, and what each promises."""

import math

import pytest
import torch
from torch import Generator, Tensor

from siglum.lab import augment
from siglum.lab.augment import AUGMENTATIONS


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    """A cross with a longer arm at its right: not symmetric."""
    images = torch.zeros(32, 1, 40, 40)
    images[:, :, 18:21, 6:36] = 1
    images[:, :, 6:34, 18:21] = 1
    return images


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_repeat_with_a_seed_and_keep_the_shape(name: str, images: Tensor) -> None:
    augmentation = AUGMENTATIONS[name]
    first = augmentation(images, seeded(0))

    assert first.shape == images.shape and first.dtype == images.dtype
    assert first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, augmentation(images, seeded(0)))
    assert not torch.equal(first, images)
    assert not torch.equal(first, augmentation(images, seeded(1)))


@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {"random_erasing"}))
def test_at_least_60_per_cent_of_the_ink_remains(name: str, images: Tensor) -> None:
    changed = AUGMENTATIONS[name](images, seeded(0))

    assert changed.sum((1, 2, 3)).min() > 0.6 * images[0].sum()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_position_channels_do_not_change(name: str, images: Tensor) -> None:
    planes = torch.rand(32, 3, 1, 1, generator=seeded(2)).expand(-1, -1, 40, 40)
    both, chosen = torch.cat([images, planes], dim=1), [AUGMENTATIONS[name]]

    changed = augment.augment(both, chosen, seeded(0), channels=1)

    assert torch.equal(changed[:, :1], chosen[0](images, seeded(0)))
    assert torch.equal(changed[:, 1:], planes)


def test_rotate_turns_half_of_the_images_by_at_most_20_degrees() -> None:
    """The angle follows from the new position of a dot right of the centre."""
    images = torch.zeros(2000, 1, 65, 65)
    images[:, :, 32, 56] = 1  # 24 px right of the middle

    turned = augment.rotate(images, seeded(0))

    rows = torch.arange(65.0)
    down = (turned.sum((1, 3)) * rows).sum(1) / turned.sum((1, 2, 3)) - 32
    angle = torch.asin((down / 24).clamp(-1, 1)).rad2deg()
    still = angle.abs() < 1e-3
    assert 0.45 < still.float().mean() < 0.55
    assert 19 < angle.abs().max() < 20.5
    assert math.isclose(angle[~still].mean(), 0, abs_tol=1.5)


def test_flip_mirrors_half_of_the_images() -> None:
    images = torch.rand(1000, 1, 4, 5, generator=seeded(0))

    flipped = augment.flip(images, seeded(0))

    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert ((flipped == images).flatten(1).all(1) ^ mirrored).all()
    assert 0.45 < mirrored.float().mean() < 0.55


def test_crop_shifts_by_up_to_two_of_28_pixels_each_way_and_brings_in_paper() -> None:
    """Each of the 25 positions of a dot is as frequent as any other."""
    images = torch.zeros(5000, 2, 28, 28)
    images[:, :, 14, 14] = 1

    cropped = augment.crop(images, seeded(0))

    _, channels, rows, columns = cropped.nonzero().T
    assert len(rows) == 10_000 and torch.equal(cropped[:, 0], cropped[:, 1])
    positions = (rows[channels == 0] - 12) * 5 + columns[channels == 0] - 12
    assert (torch.bincount(positions, minlength=25) - 200).abs().max() < 5 * 200**0.5
    lost = 784 - augment.crop(torch.ones(500, 1, 28, 28), seeded(0)).sum((1, 2, 3))
    assert lost.min() == 0 and lost.max() == 784 - 26 * 26


def test_random_erasing_clears_a_rectangle_of_half_of_the_images() -> None:
    gone = augment.random_erasing(torch.ones(2000, 3, 28, 28), seeded(0)) == 0

    assert (gone == gone[:, :1]).all()  # in all channels
    heights, widths = gone[:, 0].any(2).sum(1), gone[:, 0].any(1).sum(1)
    assert torch.equal(gone[:, 0].sum((1, 2)), heights * widths)  # a rectangle
    erased = heights > 0
    assert 0.45 < erased.float().mean() < 0.55
    for sides in (heights[erased], widths[erased]):
        assert sides.min() >= 3 and sides.max() <= 14
    assert gone[:, 0].any(0).all()  # anywhere in the image
