"""Print made to look written: still ink on paper, still there, different every time."""

import pytest
import torch
from torch import Generator, Tensor

from siglum.lab import handwriting as ways
from siglum.lab.handwriting import handwriting

SINGLE = (
    ways.elastic,
    ways.split,
    ways.stroke_width,
    ways.pen_skips,
    ways.ghost,
    ways.downscale,
    ways.cutout,
    ways.noise,
)


@pytest.fixture
def crosses() -> Tensor:
    images = torch.zeros(32, 1, 40, 40)
    images[:, :, 18:21, 6:34] = 1
    images[:, :, 6:34, 18:21] = 1
    return images


@pytest.mark.parametrize("way", [*SINGLE, handwriting], ids=lambda way: way.__name__)
def test_ink_stays_between_paper_and_full_and_something_stays(way, crosses: Tensor) -> None:  # type: ignore[no-untyped-def]
    changed = way(crosses, Generator().manual_seed(0))

    assert changed.shape == crosses.shape and changed.isfinite().all()
    assert changed.min() >= 0 and changed.max() <= 1
    assert (changed.amax(dim=(1, 2, 3)) > 0.5).all()
    assert not torch.equal(changed, crosses)


@pytest.mark.parametrize(
    "way", [ways.elastic, ways.split, ways.stroke_width, ways.pen_skips, ways.ghost]
)
def test_paper_stays_paper(way) -> None:  # type: ignore[no-untyped-def]
    blank = torch.zeros(8, 1, 40, 40)

    assert way(blank, Generator().manual_seed(0)).abs().max() < 1e-6


def test_same_generator_same_pictures(crosses: Tensor) -> None:
    first = handwriting(crosses, Generator().manual_seed(1))
    again = handwriting(crosses, Generator().manual_seed(1))
    other = handwriting(crosses, Generator().manual_seed(2))

    assert torch.equal(first, again) and not torch.equal(first, other)


def test_strokes_become_wider_and_thinner(crosses: Tensor) -> None:
    ink = ways.stroke_width(crosses, Generator().manual_seed(0)).sum(dim=(1, 2, 3))
    before = crosses[0].sum()

    assert ink.min() < 0.9 * before and ink.max() > 1.2 * before


def test_broken_takes_away_and_adds_nothing(crosses: Tensor) -> None:
    changed = ways.pen_skips(crosses, Generator().manual_seed(0))

    assert (changed <= crosses).all() and (changed < crosses).any()
