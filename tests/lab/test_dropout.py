import pytest
import torch

from siglum.lab.dropout import Dropout, keep_mask


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_drops_at_the_rate_it_says(p: float) -> None:
    """Within five standard deviations of the binomial, for a million values."""
    torch.manual_seed(0)
    dropped = (keep_mask(torch.empty(1000, 1000), p) == 0).double().mean().item()

    assert abs(dropped - p) < 5 * (p * (1 - p) / 1e6) ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    layer = Dropout(p)

    assert layer(torch.ones(1000, 1000)).double().mean().item() == pytest.approx(1, abs=0.01)


def test_values_are_dropped_independently() -> None:
    """No correlation with the neighbours, nor along a picture, at any of several distances."""
    torch.manual_seed(0)
    mask = (keep_mask(torch.empty(1_000_000), 0.5) > 0).double() - 0.5
    for distance in (1, 2, 3, 4, 5, 8, 64, 784, 4096):
        products = mask[distance:] * mask[:-distance] * 4

        assert abs(products.mean().item()) < 5 / 1000, distance


def test_calls_differ_and_the_seed_repeats_them() -> None:
    layer, ones = Dropout(0.5), torch.ones(1000)
    torch.manual_seed(1)
    first, second = layer(ones), layer(ones)
    torch.manual_seed(1)

    assert not torch.equal(first, second)
    assert torch.equal(first, layer(ones))


def test_nothing_is_dropped_in_evaluation() -> None:
    images = torch.rand(10)

    assert torch.equal(Dropout(0.5).eval()(images), images)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_layout_and_dtype(layout: torch.memory_format, dtype: torch.dtype) -> None:
    images = torch.ones(2, 8, 6, 6, dtype=dtype).contiguous(memory_format=layout)

    dropped = Dropout(0.3)(images)

    assert dropped.dtype == dtype
    assert dropped.is_contiguous(memory_format=layout)
    assert 0.1 < (dropped == 0).float().mean() < 0.5


def test_gradient_is_that_of_torch_dropout() -> None:
    """The gradient is the mask that was drawn: 0 where dropped, the scale elsewhere."""
    torch.manual_seed(0)
    images = torch.rand(100, 100, requires_grad=True)
    dropped = Dropout(0.25)(images)
    dropped.sum().backward()

    assert images.grad is not None
    torch.testing.assert_close(images.grad, dropped.detach() / images.detach())
    kept = images.grad[images.grad > 0]
    assert kept.unique().tolist() == pytest.approx([1 / 0.75])
