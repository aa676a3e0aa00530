"""What is seen inside a network is what is there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siglum.config import TrainConfig
from siglum.errors import ConfigError
from siglum.lab import models
from siglum.lab.device import Device
from siglum.lab.examine import answers, attribution, features, filters, layers, maps
from siglum.lab.examine.subject import DoesNotApplyError, Subject, spread, subject
from siglum.lab.runs import Run

OWN = '''
import torch
import torch.nn.functional as F
from torch import nn

class Own(nn.Module):
    """Batch normalisation, changes in place, a sum, a mean, and functions instead of modules."""
    num_features = 6

    def __init__(self, num_classes, in_channels=1, image_size=28):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.again = nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.shift = nn.Parameter(torch.zeros(6))
        self.head = nn.Linear(6, num_classes)

    def forward_features(self, images):
        x = self.act(self.norm(self.stem(images)))
        x = F.max_pool2d(x + self.act(self.again(x)), 2)
        return x.mean(dim=(2, 3)) + self.shift

    def forward(self, images):
        return self.head(self.forward_features(images))
'''


def linear(size: int, classes: int) -> nn.Module:
    """Logits = W x: what each method says of it is known."""
    torch.manual_seed(0)

    class Linear(nn.Module):
        num_features = size * size

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(size * size, classes, bias=False)

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.forward_features(images))

    return Linear()


def untrained(folder: Path, data: Path, model: str, size: int = 64, **settings: object) -> Run:
    """A run with random weights, as if it had been interrupted."""
    config = TrainConfig(data=f"folder:{data}", model=model, size=size, val=0.2, **settings)
    preprocess, classes = config.preprocess(0.1, 0.3), ("cross", "ring", "stroke")
    torch.manual_seed(0)
    network = models.build(model, 3, preprocess.planes, size, config.model_options)
    run = Run.create(folder, config, preprocess, classes, {})
    run.save_weights("best", network)
    run.save_weights("last", network)
    return run


@pytest.fixture
def small(tmp_path: Path, signs: Path, machine: Device) -> Subject:
    return subject(untrained(tmp_path / "run", signs, "mnist_net", 28), machine)


@pytest.fixture
def plain(small: Subject) -> Subject:
    """The same, its network a linear one."""
    small.__dict__["model"] = linear(28, 3)
    return small


def test_layers_have_the_published_sizes_of_mnist_net() -> None:
    found = layers.layers(models.build("mnist_net", 10), (1, 28, 28))
    convolutions = [layer for layer in found if layer.kind == "convolution"]

    assert [layer.kind for layer in found if layer.kind not in ("dropout", "flatten")] == [
        "input",
        *("convolution", "max pool", "ReLU") * 2,
        *("linear", "ReLU", "linear"),
    ]
    assert [layer.output for layer in convolutions] == [(2, 10, 28, 28), (2, 20, 14, 14)]
    assert [layer.multiply_adds for layer in convolutions] == [
        10 * 28 * 28 * 25,
        20 * 14 * 14 * 25 * 10,
    ]
    assert (found[0].output, found[-1].output) == ((2, 1, 28, 28), (2, 10))


@pytest.mark.parametrize("name", models.MODELS)
def test_every_parameter_is_in_one_layer(name: str) -> None:
    model = models.build(name, 3, 1, 64)
    found = layers.layers(model, (1, 64, 64))

    assert sum(layer.parameters for layer in found) == sum(p.numel() for p in model.parameters())
    assert len({layer.name for layer in found}) == len(found)


def test_a_large_map_is_one_layer_though_it_is_made_in_parts() -> None:
    """On a CPU conv_transformer takes few pictures at a time."""
    found = layers.layers(models.build("conv_pool", 3, 1, 512), (1, 512, 512))

    assert [layer.output for layer in found if layer.kind == "convolution"] == [
        (2, 32, 512, 512),
        (2, 64, 256, 256),
        (2, 128, 128, 128),
    ]


def test_functions_between_modules_are_seen_and_parameters_beside_them(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    model = models.build(f"{tmp_path / 'own.py'}:Own", 3, 3, 20)
    found = layers.layers(model, (3, 20, 20))

    assert [(layer.name, layer.kind) for layer in found] == [
        ("input", "input"),
        ("stem", "convolution"),
        ("norm", "batch norm"),
        ("act", "ReLU"),
        ("again", "convolution"),
        ("act_2", "ReLU"),
        ("add", "add"),
        ("max_pool2d", "max pool"),
        ("mean", "mean"),
        ("add_2", "add"),
        ("head", "linear"),
        ("shift", "parameters"),
    ]
    assert found[4].detail == "6 filters 3 × 3, padding 1, 2 groups"
    assert found[4].multiply_adds == 6 * 20 * 20 * 9 * 3
    assert found[-1].parameters == 6


def test_a_network_that_needs_values_is_called_with_zeros() -> None:
    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(images.flatten(1)) * float(images.max() < 1)

    found = layers.layers(Asking(), (1, 2, 2))
    assert [layer.name for layer in found] == ["input", "flatten", "head"]


def test_values_in_place_are_kept_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    model = models.build(f"{tmp_path / 'own.py'}:Own", 3, 1, 20).eval()
    images = torch.rand(1, 1, 20, 20)
    found = layers.values(model, images)

    torch.testing.assert_close(found["stem"], model.stem(images))
    torch.testing.assert_close(found["norm"], model.norm(model.stem(images)))
    torch.testing.assert_close(found["head"], model(images))


def test_a_layer_that_is_not_there_names_the_nearest() -> None:
    model = models.build("mnist_net", 10)
    with pytest.raises(ConfigError) as error:
        layers.find_layer(model, "conv3", (1, 28, 28))

    names = ", ".join(layer.name for layer in layers.layers(model, (1, 28, 28)))
    assert str(error.value) == (
        f"layer must be a layer of the network ({names}), got 'conv3'. Did you mean 'conv2'?"
    )


def test_a_filter_of_a_single_one_leaves_the_picture() -> None:
    picture = torch.rand(2, 6, 6)
    weights = torch.zeros(2, 2, 4, 3)
    weights[0, 0, 1, 1] = 1  # the middle, or the one above left of it where there is none
    weights[1, 1, 1, 2] = 1  # what lies to the right
    found = filters.correlate(picture, weights)

    torch.testing.assert_close(found[0], picture[0])
    torch.testing.assert_close(found[1], F.pad(picture[1], (0, 1))[:, 1:])


def test_effect_is_what_the_network_does_but_for_bias_and_scale(small: Subject) -> None:
    found = filters.effect(small)
    conv = small.model.get_submodule(found.layer)
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    made = conv(torch.from_numpy(found.picture)[None])[0] - conv.bias[:, None, None]

    np.testing.assert_allclose(found.effects, made.detach().numpy(), atol=1e-5)
    assert found.name == "training picture 1"


def test_filters_are_the_weights(small: Subject) -> None:
    found = filters.filters(small)

    assert (found.layer, found.weights.shape) == ("conv1", (10, 1, 5, 5))


def test_a_layer_without_filters_is_refused(tmp_path: Path, signs: Path, machine: Device) -> None:
    run = untrained(tmp_path / "run", signs, "mnist_net", 28)
    with pytest.raises(DoesNotApplyError) as error:
        filters.filters(subject(run, machine, layer="hidden"))
    assert str(error.value) == (
        "layer must have filters to show them (conv1, conv2), got 'hidden'."
    )
    with pytest.raises(DoesNotApplyError, match="'maps' shows what comes out of the others"):
        filters.effect(subject(run, machine, layer="conv2"))


def test_saliency_of_a_linear_network_is_its_absolute_weights(plain: Subject) -> None:
    found = attribution.saliency(plain)
    weights = plain.model.get_submodule("head").weight[found.target].abs().view(-1, 28, 28)

    np.testing.assert_allclose(
        found.values, weights.detach().numpy() / plain.preprocess.std, rtol=1e-5
    )


def test_integrated_gradients_of_a_linear_network_are_weights_times_ink(plain: Subject) -> None:
    found = attribution.integrated_gradients(plain)
    weights = plain.model.get_submodule("head").weight[found.target].view(-1, 28, 28)
    expected = weights.detach().numpy() * found.pictures[:, 0] / plain.preprocess.std

    np.testing.assert_allclose(found.values, expected, atol=1e-5)


def test_integrated_gradients_add_up_to_the_score_above_that_of_paper(small: Subject) -> None:
    found = attribution.integrated_gradients(small)
    shown = small.pictures(4).images
    with torch.no_grad():
        scores = small.model(small.seen(shown)) - small.model(small.seen(np.zeros_like(shown)))
    wanted = scores.gather(1, torch.from_numpy(found.target)[:, None])[:, 0].numpy()

    np.testing.assert_allclose(found.values.sum(axis=(1, 2)), wanted, atol=0.02)


def test_occlusion_of_paper_alone_changes_nothing(plain: Subject) -> None:
    """A pixel that no square with ink covers has no value; the others add up what is covered."""
    found = attribution.occlusion(plain)
    far = F.max_pool2d(torch.from_numpy(found.pictures), 9, stride=1, padding=4)[:, 0] == 0

    assert far.any() and np.abs(found.values[far.numpy()]).max() < 1e-5
    assert np.abs(found.values).max() > 0.01


def test_answers_are_the_log_probabilities_of_the_network(small: Subject) -> None:
    found = answers.answers(small)
    with torch.no_grad():
        logits = small.model(small.seen(small.pictures(10).images))

    np.testing.assert_allclose(found.log_probs, logits.log_softmax(dim=1).numpy(), atol=1e-5)
    assert found.log_probs.shape == (10, 3) and set(found.labels.tolist()) == {0, 1, 2}


def test_the_nearest_of_a_training_picture_is_itself(
    tmp_path: Path, signs: Path, machine: Device
) -> None:
    run = untrained(tmp_path / "run", signs, "mnist_net", 28)
    found = features.nearest(subject(run, machine, part="train", count=5))

    np.testing.assert_allclose(found.cosines[:, 0], 1, atol=1e-5)
    assert (np.diff(found.cosines, axis=1) <= 1e-6).all()
    np.testing.assert_array_equal(found.neighbours[:, 0], found.pictures)
    assert found.among == found.of


def test_principal_components_are_those_of_the_covariance() -> None:
    random = np.random.RandomState(0)
    points = (random.randn(500, 3) * [3, 1, 0.1]).astype(np.float32)
    flat, share = features.principal(points, 2)
    variances = np.sort(np.linalg.eigvalsh(np.cov(points.T)))[::-1]

    np.testing.assert_allclose(flat.var(axis=0, ddof=1), variances[:2], rtol=1e-3)
    np.testing.assert_allclose(share, variances[:2] / variances.sum(), rtol=1e-3)


def test_a_map_of_three_pictures_is_refused(tmp_path: Path, signs: Path, machine: Device) -> None:
    run = untrained(tmp_path / "run", signs, "mnist_net", 28)
    looked = subject(run, machine)
    looked.__dict__["held"] = looked.held.subset(np.arange(3))
    with pytest.raises(DoesNotApplyError, match="at least 4 pictures, and there are 3"):
        features.embedding(looked)


def test_a_set_sorted_by_class_is_spread_and_another_begins_at_its_first(small: Subject) -> None:
    assert small.pictures(3).labels.tolist() == [0, 1, 2]
    mixed = small.held.subset(np.array([13, 0, 5, 2]))
    small.__dict__["held"] = mixed

    assert small.pictures(2).labels.tolist() == mixed.labels[:2].tolist()
    assert spread(10, 4).tolist() == [0, 3, 6, 9]


def test_pictures_are_taken_by_their_numbers(small: Subject) -> None:
    taken = replace(small, numbers=(3, 1)).pictures(30)

    np.testing.assert_array_equal(taken.images, small.held.take(np.array([2, 0])))
    assert [name.rpartition(" ")[2] for name in taken.names] == ["3", "1"]


def test_of_the_misread_all_and_no_others_are_taken(small: Subject) -> None:
    every = replace(small, count=len(small.held))
    wrong = answers.predictions(replace(every, wrong=True))
    known = answers.predictions(replace(every, numbers=tuple(range(1, len(small.held) + 1))))

    assert len(wrong.labels)
    assert wrong.names == tuple(n for i, n in enumerate(known.names) if known.wrong(i))


def test_where_all_is_read_right_nothing_is_misread(small: Subject) -> None:
    right = np.setdiff1d(np.arange(len(small.held)), small.misread)
    looked = replace(small, wrong=True)
    looked.__dict__["held"] = small.held.subset(right)

    assert len(right)
    with pytest.raises(DoesNotApplyError, match=f"All {len(right)} .* are read right"):
        looked.pictures(4)


def test_tokens_are_laid_out_as_the_cells_they_come_from() -> None:
    cells = torch.rand(5, 3, 3)

    np.testing.assert_allclose(maps.as_maps(cells.flatten(1).T), cells.numpy())
    assert maps.as_maps(torch.rand(7)).shape == (1, 1, 7)
