import math

import pytest
import torch
from torch import Tensor

from siglum.lab import augment
from siglum.lab.augment import AUGMENTATIONS


@pytest.fixture
def images() -> Tensor:
    """A block and a smaller one at its right: not symmetric."""
    images = torch.zeros(16, 1, 28, 28)
    images[:, :, 10:18, 12:16] = 1
    images[:, :, 14:16, 16:18] = 1
    return images


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_keeps_shape_dtype_and_range(name: str, images: Tensor) -> None:
    changed = AUGMENTATIONS[name](images, torch.Generator().manual_seed(0))

    assert changed.shape == images.shape and changed.dtype == images.dtype
    assert changed.min() >= 0 and changed.max() <= 1


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_changes_something_and_repeats_with_the_seed(name: str, images: Tensor) -> None:
    first = AUGMENTATIONS[name](images, torch.Generator().manual_seed(0))
    again = AUGMENTATIONS[name](images, torch.Generator().manual_seed(0))
    other = AUGMENTATIONS[name](images, torch.Generator().manual_seed(1))

    assert torch.equal(first, again)
    assert not torch.equal(first, images)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {"random_erasing"}))
def test_at_least_60_per_cent_of_the_ink_remains(name: str, images: Tensor) -> None:
    changed = AUGMENTATIONS[name](images, torch.Generator().manual_seed(0))

    assert changed.sum((1, 2, 3)).min() > 0.6 * images[0].sum()


def test_rotate_turns_half_of_the_images_by_at_most_20_degrees() -> None:
    """The angle follows from the new position of a dot right of the centre."""
    images = torch.zeros(2000, 1, 65, 65)
    images[:, :, 32, 56] = 1  # 24 px right of the middle

    turned = augment.rotate(images, torch.Generator().manual_seed(0))

    rows = torch.arange(65.0)
    down = (turned.sum((1, 3)) * rows).sum(1) / turned.sum((1, 2, 3)) - 32
    angle = torch.asin((down / 24).clamp(-1, 1)).rad2deg()
    still = angle.abs() < 1e-3
    assert 0.45 < still.float().mean() < 0.55
    assert 19 < angle.abs().max() < 20.5
    assert math.isclose(angle[~still].mean(), 0, abs_tol=1.5)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_position_channels_do_not_change(name: str, images: Tensor) -> None:
    planes = torch.rand(16, 3, 1, 1, generator=torch.Generator().manual_seed(2)).expand(
        -1, -1, 28, 28
    )
    both = torch.cat([images, planes], dim=1)
    chosen = [AUGMENTATIONS[name]]

    changed = augment.augment(both, chosen, torch.Generator().manual_seed(0), channels=1)

    expected = chosen[0](images, torch.Generator().manual_seed(0))
    assert torch.equal(changed[:, :1], expected) and torch.equal(changed[:, 1:], planes)
    assert torch.equal(
        augment.augment(images, chosen, torch.Generator().manual_seed(0), channels=1), expected
    )


def test_flip_mirrors_half_of_the_images() -> None:
    images = torch.rand(1000, 1, 4, 5, generator=torch.Generator().manual_seed(0))

    flipped = augment.flip(images, torch.Generator().manual_seed(0))

    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert ((flipped == images).flatten(1).all(1) ^ mirrored).all()
    assert 0.45 < mirrored.float().mean() < 0.55


def test_crop_shifts_by_up_to_two_of_28_pixels_each_way() -> None:
    """A dot tells where its picture went: each of the 25 places as often as any other."""
    images = torch.zeros(5000, 2, 28, 28)
    images[:, :, 14, 14] = 1

    cropped = augment.crop(images, torch.Generator().manual_seed(0))

    _, channels, rows, columns = cropped.nonzero().T
    assert len(rows) == 10_000 and torch.equal(cropped[:, 0], cropped[:, 1])
    places = (rows[channels == 0] - 12) * 5 + columns[channels == 0] - 12
    assert (torch.bincount(places, minlength=25) - 200).abs().max() < 5 * 200**0.5


def test_crop_brings_in_paper() -> None:
    cropped = augment.crop(torch.ones(500, 1, 28, 28), torch.Generator().manual_seed(0))

    lost = 784 - cropped.sum((1, 2, 3))
    assert lost.min() == 0 and lost.max() == 784 - 26 * 26


def test_random_erasing_clears_a_rectangle_of_half_of_the_images() -> None:
    images = torch.ones(2000, 3, 28, 28)

    gone = augment.random_erasing(images, torch.Generator().manual_seed(0)) == 0

    assert (gone == gone[:, :1]).all()  # in all channels
    heights, widths = gone[:, 0].any(2).sum(1), gone[:, 0].any(1).sum(1)
    assert torch.equal(gone[:, 0].sum((1, 2)), heights * widths)  # a rectangle
    erased = heights > 0
    assert 0.45 < erased.float().mean() < 0.55
    for sides in (heights[erased], widths[erased]):
        assert sides.min() >= 3 and sides.max() <= 14
    assert gone[:, 0].any(0).all()  # wherever in the picture
