"""MobileNetV3 as torchvision has it, and what is ours around it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model

from siglum.errors import ConfigError
from siglum.lab import models
from siglum.lab.models.mobilenet_v3 import MobileNetV3Small, Norm, _pad_below

NAMES = ("mobilenet_v3_large", "mobilenet_v3_small")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_torchvision(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    theirs = get_model(name, weights=None).train()
    for module in theirs.modules():  # their statistics: or else next to nothing comes through
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    theirs.features(images)
    theirs.eval()
    model = models.build(name, 10, 3, 64).eval()
    model.features.load_state_dict(theirs.features.state_dict())

    expected = theirs.avgpool(theirs.features(images)).flatten(1)
    assert expected.std() > 1e-3
    torch.testing.assert_close(model.forward_features(images), expected)


@pytest.mark.parametrize(("name", "features"), [(NAMES[0], 960), (NAMES[1], 576)])
def test_the_head_is_the_published_one(name: str, features: int) -> None:
    norm, dropout, linear = models.build(name, 10, 1, 64).head

    assert isinstance(norm, nn.BatchNorm2d) and norm.num_features == features
    assert dropout.p == 0.5
    assert (linear.in_features, linear.out_features) == (features, 10)


@pytest.mark.parametrize("shape", [(8, 5), (4, 5, 3, 3)])
def test_norm_is_torchs_batch_normalisation(shape: tuple[int, ...]) -> None:
    ours, theirs = Norm(5), (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(5)
    images = torch.rand(shape)

    torch.testing.assert_close(ours(images), theirs(images))
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))


def test_a_grey_picture_is_shown_to_all_three_colours(images: Tensor) -> None:
    grey, colour = models.build("mobilenet_v3_small", 5, 1, 64).eval(), images[:, :1]
    same = models.build("mobilenet_v3_small", 5, 3, 64).eval()
    same.load_state_dict(grey.state_dict())

    torch.testing.assert_close(grey(colour), same(colour.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("size", [32, 64])
def test_learns_from_a_batch_of_one(size: int) -> None:
    """The last batch of a pass may be: it is normalise_batch by what was seen before."""
    model = models.build("mobilenet_v3_small", 3, 1, size).train()

    F.cross_entropy(model(torch.rand(1, 1, size, size)), torch.tensor([1])).backward()

    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def test_frozen_statistics_stay_and_their_scale_learns(images: Tensor) -> None:
    model = MobileNetV3Small(3, 3, 64, batchnorm="frozen").train()
    before = copy.deepcopy(model.state_dict())

    F.cross_entropy(model(images), torch.tensor([0, 1])).backward()

    for name, tensor in model.state_dict().items():
        if "running" in name:
            assert torch.equal(tensor, before[name]) == name.startswith("features."), name
    norm = model.features[0][1]
    assert isinstance(norm, Norm) and not norm.training and norm.weight.grad is not None


@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_below_and_mirrored_kernels_are_tensorflows_padding(kernel: int) -> None:
    """TensorFlow pads an even side on the far end; mirrored, that is torch's sideways."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, kernel, stride=2, padding=kernel // 2)
    images = torch.rand(4, 2, 12, 8)
    near, far = (kernel - 2) // 2, (kernel - 1) // 2
    same = F.pad(images.flip(-1), (near, far, near, far))
    expected = F.conv2d(same, conv.weight.flip(-1), conv.bias, stride=2).flip(-1)

    assert not torch.allclose(conv(images), expected)
    _pad_below(conv)
    torch.testing.assert_close(conv(images), expected)


@pytest.mark.parametrize("name", NAMES)
def test_padding_below_concerns_what_halves_the_picture(name: str, images: Tensor) -> None:
    model = models.build(name, 5, 3, 64, {"pad_below": True}).eval()
    padded = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.padding[0] == 0]
    halving = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]

    assert len(halving) == 5 and all(conv in padded for conv in halving)
    assert model.features(images).shape[2:] == (2, 2)
    plain = models.build(name, 5, 3, 64).eval()
    plain.load_state_dict(model.state_dict())
    assert not torch.allclose(plain.features[0](images), model.features[0](images))


@pytest.mark.parametrize(
    ("channels", "size", "options", "message"),
    [
        (4, 64, {}, "channels must be 1 or 3 for {}, without position channels, got 4."),
        (1, 31, {}, "size must be at least 32 for {}, got 31."),
        (1, 64, {"batchnorm": "freezed"}, "batchnorm must be one of frozen, train, got 'freezed'. "
         "Did you mean 'frozen'?"),
    ],
)  # fmt: skip
def test_refuses_what_it_cannot_be(channels: int, size: int, options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        models.build("mobilenet_v3_small", 10, channels, size, options)

    assert str(error.value) == message.format("mobilenet_v3_small")
