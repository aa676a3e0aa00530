"""Contracts of the handwriting augmentation and of each of its steps."""

import pytest
import torch
from torch import Generator, Tensor

from siglum.lab import handwriting as steps
from siglum.lab.handwriting import handwriting

SINGLE = (
    steps.elastic,
    steps.split,
    steps.stroke_width,
    steps.pen_skips,
    steps.ghost,
    steps.downscale,
    steps.cutout,
    steps.noise,
)


@pytest.fixture
def crosses() -> Tensor:
    images = torch.zeros(32, 1, 40, 40)
    images[:, :, 18:21, 6:34] = 1
    images[:, :, 6:34, 18:21] = 1
    return images


@pytest.mark.parametrize("step", [*SINGLE, handwriting], ids=lambda step: step.__name__)
def test_values_remain_in_range_and_ink_remains(step, crosses: Tensor) -> None:  # type: ignore[no-untyped-def]
    changed = step(crosses, Generator().manual_seed(0))

    assert changed.shape == crosses.shape and changed.isfinite().all()
    assert changed.min() >= 0 and changed.max() <= 1
    assert (changed.amax(dim=(1, 2, 3)) > 0.5).all()
    assert not torch.equal(changed, crosses)


@pytest.mark.parametrize(
    "step", [steps.elastic, steps.split, steps.stroke_width, steps.pen_skips, steps.ghost]
)
def test_blank_images_remain_blank(step) -> None:  # type: ignore[no-untyped-def]
    blank = torch.zeros(8, 1, 40, 40)

    assert step(blank, Generator().manual_seed(0)).abs().max() < 1e-6


def test_equal_generators_give_equal_images(crosses: Tensor) -> None:
    first = handwriting(crosses, Generator().manual_seed(1))
    again = handwriting(crosses, Generator().manual_seed(1))
    other = handwriting(crosses, Generator().manual_seed(2))

    assert torch.equal(first, again) and not torch.equal(first, other)


def test_stroke_width_widens_and_thins(crosses: Tensor) -> None:
    ink = steps.stroke_width(crosses, Generator().manual_seed(0)).sum(dim=(1, 2, 3))
    before = crosses[0].sum()

    assert ink.min() < 0.9 * before and ink.max() > 1.2 * before


def test_pen_skips_only_remove_ink(crosses: Tensor) -> None:
    changed = steps.pen_skips(crosses, Generator().manual_seed(0))

    assert (changed <= crosses).all() and (changed < crosses).any()
