"""The features of torchvision and of the included backbone, our head and padding."""

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model

from siglum.lab import models, transfer
from siglum.lab.models.pretrained import SCALE, shift_padding
from siglum.lab.training_loop import normalise_batch, to_unit
from siglum.recogniser import predict

NAMES = ("mobilenet_v3_large", "mobilenet_v3_small", "resnet18", "vgg11")


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
    theirs.avgpool = nn.AdaptiveAvgPool2d(1)  # vgg11's leaves 7 x 7
    setattr(theirs, "fc" if hasattr(theirs, "fc") else "classifier", nn.Identity())
    theirs(images)
    model = models.build(name, 10, 3, 64).eval()
    missing, unexpected = model.load_state_dict(theirs.state_dict(), strict=False)
    assert not unexpected and all(key.startswith("head.") for key in missing)

    expected = theirs.eval()(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(model.forward_features(images), expected)


def test_a_grey_image_fills_all_three_colours(images: Tensor) -> None:
    grey, colour = models.build("mobilenet_v3_small", 5, 1, 64).eval(), images[:, :1]
    same = models.build("mobilenet_v3_small", 5, 3, 64).eval()
    same.load_state_dict(grey.state_dict())

    torch.testing.assert_close(grey(colour), same(colour.repeat(1, 3, 1, 1)))


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
    shift_padding(conv)
    torch.testing.assert_close(conv(images), expected)


def test_sign_net_reproduces_the_included_backbone() -> None:
    backbone = predict.default_backbone()
    model = models.build("sign_net", 3, image_size=56)
    transfer.load_pretrained(model, ("a", "b", "c"), "backbone")
    pixels = np.random.RandomState(0).randint(0, 256, (4, 1, 56, 56)).astype(np.uint8)
    images = normalise_batch(to_unit(pixels), backbone.preprocess)

    with torch.no_grad():
        features = model.eval().forward_features(images)
    graph = onnx.load_from_string(backbone.bundle.model).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    expected = backbone.network(pixels)
    outputs = features.numpy() / SCALE @ arrays["directions"] + arrays["centre"]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
