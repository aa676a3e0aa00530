import math

import pytest
import torch
from torch import Tensor

from siglum.lab import augment
from siglum.lab.augment import AUGMENTATIONS


@pytest.fixture
def images() -> Tensor:
    images = torch.zeros(16, 1, 28, 28)
    images[:, :, 10:18, 12:16] = 1
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


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_most_of_the_ink_stays(name: str, images: Tensor) -> None:
    changed = AUGMENTATIONS[name](images, torch.Generator().manual_seed(0))

    assert changed.sum((1, 2, 3)).min() > 0.6 * images[0].sum()


def test_rotate_turns_half_of_the_pictures_by_at_most_20_degrees() -> None:
    """A dot right of the middle moves on its circle; how far tells the angle."""
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
def test_planes_behind_the_ink_stay_as_they_are(name: str, images: Tensor) -> None:
    planes = torch.rand(16, 3, 1, 1, generator=torch.Generator().manual_seed(2)).expand(
        -1, -1, 28, 28
    )
    both = torch.cat([images, planes], dim=1)
    chosen = [AUGMENTATIONS[name]]

    changed = augment.augmented(both, chosen, torch.Generator().manual_seed(0), channels=1)

    expected = chosen[0](images, torch.Generator().manual_seed(0))
    assert torch.equal(changed[:, :1], expected) and torch.equal(changed[:, 1:], planes)
    assert torch.equal(
        augment.augmented(images, chosen, torch.Generator().manual_seed(0), channels=1), expected
    )
