"""One pass of dropout, ReLU and pooling, against torch's three layers."""

import pytest
import torch
from torch import Tensor, nn

from siglum.lab.drop_pool import DropPool


def draw(shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return images.to(dtype).contiguous(memory_format=layout)


@pytest.mark.parametrize("side", [2, 6, 7, 25])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_dropout_it_is_relu_and_max_pool(
    dtype: torch.dtype, layout: torch.memory_format, side: int
) -> None:
    """Values and gradients, to the bit."""
    ours = draw((3, 5, side, side), dtype, layout).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    pooled = DropPool(0.0)(ours)
    expected = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))(theirs)
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    pooled.backward(gradient)
    expected.backward(gradient)

    assert torch.equal(pooled, expected)
    assert ours.grad is not None and theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_drops_at_the_rate_it_says_and_scales_the_rest(p: float) -> None:
    """Of four equal values the maximum is 0 only when all are dropped: with probability p^4."""
    torch.manual_seed(0)
    pooled = DropPool(p)(torch.ones(16, 64, 64, 64).contiguous(memory_format=torch.channels_last))
    lost = (pooled == 0).double().mean().item()

    assert pooled.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-4)
    assert abs(lost - p**4) < 5 * (p**4 * (1 - p**4) / pooled.numel()) ** 0.5


def dropped_of(p: float, batch: int = 16) -> Tensor:
    """Which values were dropped, found by giving each window one positive value at a time."""
    dropped = torch.empty(batch, 32, 64, 64, dtype=torch.bool)
    for k in range(4):
        torch.manual_seed(0)  # the same draws for each of the four
        images = torch.zeros(batch, 32, 64, 64).contiguous(memory_format=torch.channels_last)
        images[:, :, k // 2 :: 2, k % 2 :: 2] = 1
        dropped[:, :, k // 2 :: 2, k % 2 :: 2] = DropPool(p)(images) == 0
    return dropped


def test_values_are_dropped_independently() -> None:
    """No correlation at any of several distances along rows, columns, channels and pictures."""
    p = 0.3
    dropped = dropped_of(p).double()

    assert abs(dropped.mean().item() - p) < 5 * (p * (1 - p) / dropped.numel()) ** 0.5
    centred = (dropped - p) / (p * (1 - p)) ** 0.5
    for axis in range(4):
        for distance in (1, 2, 3, 8):
            size = centred.shape[axis] - distance
            first, second = centred.narrow(axis, 0, size), centred.narrow(axis, distance, size)
            products = (first * second).mean().item()

            assert abs(products) < 5 / first.numel() ** 0.5, (axis, distance)


def test_gradient_goes_where_the_maximum_was() -> None:
    torch.manual_seed(0)
    images = draw((4, 8, 16, 16), torch.float32, torch.channels_last).requires_grad_()
    pooled = DropPool(0.3)(images)
    pooled.sum().backward()

    assert images.grad is not None
    hit = images.grad > 0
    windows = hit.unfold(2, 2, 2).unfold(3, 2, 2).sum(dim=(4, 5))
    assert torch.equal(windows, (pooled > 0).long())
    assert images.grad[hit].unique().tolist() == pytest.approx([1 / 0.7], rel=1e-4)
    assert (images.grad * images).sum().item() == pytest.approx(pooled.sum().item(), rel=1e-5)


def test_calls_differ_and_the_seed_repeats_them() -> None:
    layer, images = DropPool(0.5), torch.ones(2, 8, 8, 8)
    torch.manual_seed(1)
    first, second = layer(images), layer(images)
    torch.manual_seed(1)

    assert not torch.equal(first, second)
    assert torch.equal(first, layer(images))


def test_nothing_is_dropped_in_evaluation() -> None:
    images = draw((2, 3, 6, 6), torch.float32, torch.contiguous_format)

    expected = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))(images)
    assert torch.equal(DropPool(0.5).eval()(images), expected)


def test_other_precisions_use_torch() -> None:
    torch.manual_seed(0)
    pooled = DropPool(0.3)(torch.ones(4, 8, 16, 16, dtype=torch.float64))

    assert pooled.dtype == torch.float64
    assert pooled.unique().tolist() == pytest.approx([0, 1 / 0.7])
