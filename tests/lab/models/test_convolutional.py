"""Report 2's networks compute what plain torch computes; every option changes what it names."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.errors import ConfigError
from siglum.lab import models
from siglum.lab.models.convolutional import ACTIVATIONS, CNN, POOLS, PictureNet

NETWORKS = ("mnist_net", "mnist_net2", "mnist_net3")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "num_features"), [("mnist_net", 980), ("mnist_net2", 270), ("mnist_net3", 320)]
)
def test_computes_the_published_network(name: str, num_features: int, images: Tensor) -> None:
    model = models.build(name, 10).eval()
    assert isinstance(model, CNN)

    x = images
    for number in range(1, 4 if name == "mnist_net2" else 3):
        layer = getattr(model, f"conv{number}")
        x = F.conv2d(x, layer.weight, layer.bias, padding=2)
        mean = name == "mnist_net3" and number == 1
        x = F.relu(F.avg_pool2d(x, 3) if mean else F.max_pool2d(x, 2))
    assert x.flatten(1).shape == (3, num_features)
    x = F.relu(x.flatten(1) @ model.hidden.weight.T + model.hidden.bias)
    torch.testing.assert_close(model(images), model.head(x))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mnist_net", (20, 14, 14)), ("mnist_net2", (30, 7, 7)), ("mnist_net3", (20, 9, 9))],
)
def test_drops_half_of_the_last_convolution_in_training(
    name: str, shape: tuple[int, ...], images: Tensor
) -> None:
    model = models.build(name, 10)
    calls: list[tuple[Tensor, Tensor]] = []
    model.dropout.register_forward_hook(lambda _, inputs, output: calls.append((inputs[0], output)))

    model(images)

    ((before, after),) = calls
    assert before.shape[1:] == shape
    assert 0.45 < (after == 0).float().mean() < 0.55
    assert torch.equal(model.eval()(images), model(images))


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_at_test_drops_in_evaluation_too(name: str, images: Tensor) -> None:
    """The same seed drops the same values in evaluation as in training."""
    model = models.build(name, 10, options={"dropout_at_test": True})
    torch.manual_seed(1)
    training = model.train()(images)
    torch.manual_seed(1)

    assert torch.equal(model.eval()(images), training)
    assert not torch.equal(model(images), training)


@pytest.mark.parametrize(
    ("name", "widths", "side"),
    [("mnist_net", (10, 20), 7), ("mnist_net2", (10, 20, 30), 3), ("mnist_net3", (10, 20), 4)],
)
def test_a_seed_gives_the_weights_of_the_published_order(
    name: str, widths: tuple[int, ...], side: int
) -> None:
    """So runs and weights of earlier versions fit, and trainings repeat."""
    torch.manual_seed(3)
    layers: dict[str, nn.Module] = {}
    for number, channels in enumerate((1, *widths[:-1]), start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, widths[number - 1], 5)
    layers |= {"hidden": nn.Linear(widths[-1] * side**2, 50), "head": nn.Linear(50, 10)}
    expected = nn.ModuleDict(layers).state_dict()
    torch.manual_seed(3)
    state = models.build(name, 10).state_dict()

    assert [*state] == [*expected]
    assert all(torch.equal(state[key], tensor) for key, tensor in expected.items())


def test_mnist_net3_is_cnn_with_its_options(images: Tensor) -> None:
    options = {"first_pool": "average", "first_pool_size": 3, "filters": 4}
    torch.manual_seed(0)
    cnn = models.build("cnn", 10, options=options).eval()
    torch.manual_seed(0)
    same = models.build("mnist_net3", 10, options={"filters": 4}).eval()

    assert torch.equal(cnn(images), same(images))
    assert (cnn.conv1.out_channels, cnn.conv2.out_channels) == (4, 20)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({"layers": 1, "pool_size": 3}, {"none": 28, "max": 9}),
        ({"layers": 3, "kernel_size": 3, "growth": 6}, {"none": 28, "max": 3}),
        ({"stride": 2, "batch_norm": True, "hidden": 0}, {"none": 7, "max": 2}),
        ({"kernel_size": 4, "filters": 3, "dropout": 0, "hidden": 9}, {"none": 30, "max": 7}),
    ],
)
def test_options_decide_the_sizes(pool: str, options: dict, side: dict[str, int]) -> None:
    model = models.build("cnn", 5, 3, 28, {**options, "pool": pool})
    layers, growth = options.get("layers", 2), options.get("growth", 10)
    width = options.get("filters", 10) if layers == 1 else layers * growth
    features = width * side.get(pool, side["max"]) ** 2

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert linear[0].in_features == features
    assert len(linear) == 1 + (options.get("hidden", 50) > 0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_activation_follows_every_layer(activation: str, images: Tensor) -> None:
    model = models.build("cnn", 3, options={"activation": activation}).eval()
    x, act = images, ACTIVATIONS[activation]()
    for conv in (model.conv1, model.conv2):
        x = act(F.max_pool2d(conv(x), 2))

    torch.testing.assert_close(model(images), model.head(act(model.hidden(x.flatten(1)))))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_width_multiplies_the_filters(width: int) -> None:
    glyph = models.build("glyph_net", 62, in_channels=4, options={"width": width})
    picture = models.build("picture_net", 10, options={"width": width})

    first, second, third = 16 * width, 32 * width, 64 * width
    kernels = 25 * 4 * first + 9 * first * second + 9 * second * third
    norms = 2 * (first + second + third)
    assert models.count_parameters(glyph) == kernels + norms + (9 * third + 1) * 62
    assert picture.head.in_features == 8 * width


def test_picture_net_predicts_the_mean_of_an_image_and_its_mirror_image() -> None:
    """With `mirror`, in evaluation alone."""
    torch.manual_seed(0)
    model, plain = PictureNet(5, width=4, mirror=True).eval(), PictureNet(5, width=4).eval()
    plain.load_state_dict(model.state_dict())
    images = torch.rand(3, 1, 28, 28)

    torch.testing.assert_close(model(images), model(images.flip(-1)))
    torch.testing.assert_close(model(images), (plain(images) + plain(images.flip(-1))) / 2)
    assert not torch.allclose(plain(images), plain(images.flip(-1)))
    torch.testing.assert_close(model.train()(images), plain.train()(images))


def test_picture_net_predicts_the_mean_of_an_image_and_its_shifts() -> None:
    torch.manual_seed(0)
    model, plain = PictureNet(5, width=4, shifts=True).eval(), PictureNet(5, width=4).eval()
    plain.load_state_dict(model.state_dict())
    images = torch.zeros(3, 1, 28, 28)  # with a margin that shifts do not leave
    images[:, :, 4:24, 4:24] = torch.rand(3, 1, 20, 20)

    views = [images, images.roll((1, 1), (2, 3)), images.roll((-1, -1), (2, 3))]
    torch.testing.assert_close(model(images), sum(plain(view) for view in views) / 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 5}, "layers, kernel_size, stride and pool_size must leave at least 1 px of the "
         "28 px, got none after convolution 5 of 5."),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0."),
        ({"hidden": -1}, "hidden must be at least 0, got -1."),
        ({"pool": "min"}, "pool must be one of average, max, none, got 'min'."),
        ({"activation": "rely"}, "activation must be one of elu, gelu, leaky_relu, relu, sigmoid, "
         "tanh, got 'rely'. Did you mean 'relu'?"),
        ({"dropout": 1.0}, "dropout must be in [0, 1), got 1.0."),
    ],
)  # fmt: skip
def test_options_that_leave_no_network_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        models.build("cnn", 10, options=options)

    assert str(error.value) == message
