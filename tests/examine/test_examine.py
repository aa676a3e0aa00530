"""The panels show what is in the network: closed forms, PyTorch's own values, every network."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.config import TrainConfig
from siglum.errors import ConfigError
from siglum.examine import Examination, NotApplicableError, spread
from siglum.examine.layers import layer_outputs, layers
from siglum.examine.page import run_panels, save, save_formats, write_page
from siglum.examine.panels import (
    PANELS,
    attention,
    correlate,
    embedding,
    filters,
    integrated_gradients,
    log_probabilities,
    nearest,
    occlusion,
    predictions,
    received,
    responses,
    saliency,
    to_maps,
)
from siglum.lab import models
from siglum.lab.device import choose_device
from siglum.lab.models.conv_transformer import ConvTransformer
from siglum.lab.runs import Run
from siglum.report.page import TEMPLATES

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

class Student(nn.Module):
    """As tutorials write it: no forward_features, no head, functions between the layers."""

    def __init__(self, num_classes=3, in_channels=1, image_size=28):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 4, 5)
        self.fc1 = nn.Linear(4 * ((image_size - 4) // 2) ** 2, 20)
        self.fc2 = nn.Linear(20, num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))

class Flat(nn.Module):
    def __init__(self, num_classes, in_channels=1, image_size=28):
        super().__init__()
        self.num_features = in_channels * image_size**2
        self.head = nn.Linear(self.num_features, num_classes, bias=False)

    def forward_features(self, images):
        return images.flatten(1)

    def forward(self, images):
        return self.head(self.forward_features(images))
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN)
    return str(path)


def examine(
    folder: Path,
    data: Path,
    model: str,
    size: int = 28,
    *,
    settings: Any = None,
    classes: tuple[str, ...] = ("cross", "ring", "stroke"),
    **options: Any,
) -> Examination:
    """Examine a network with random weights, in a run that was interrupted."""
    config = TrainConfig(data=f"folder:{data}", model=model, size=size, val=0.2, **(settings or {}))
    preprocess = config.preprocess(0.1, 0.3)
    torch.manual_seed(0)
    network = models.build(model, 3, preprocess.planes, size, config.model_options)
    run = Run.create(folder / "run", config, preprocess, classes, {})
    run.save_checkpoint("best", network)
    run.save_checkpoint("last", network)
    return Examination(run, choose_device("cpu", "float32", threads=1), **options)


@pytest.fixture
def small(tmp_path: Path, signs: Path) -> Examination:
    return examine(tmp_path, signs, "mnist_net")


@pytest.fixture
def linear(tmp_path: Path, signs: Path, own: str) -> Examination:
    """A linear network: what each attribution must be is known."""
    return examine(tmp_path, signs, f"{own}:Flat")


def weights_of(examination: Examination, target: np.ndarray) -> np.ndarray:
    weights = [p for p in examination.model.parameters() if p.ndim == 2][-1]
    return weights[torch.from_numpy(target)].view(-1, 28, 28).detach().numpy()


def check_every_panel(examination: Examination) -> set[str]:
    """Run and draw all panels; return those that do not apply."""
    absent = set()
    for name, result in run_panels(examination, PANELS).items():
        if isinstance(result, NotApplicableError):
            absent.add(name)
            assert str(result).endswith(".")
            continue
        assert result.figure or result.table or result.text
        for key, values in result.arrays.items():
            assert values.dtype != object, (name, key)
            assert values.dtype.kind != "f" or np.isfinite(values).all(), (name, key)
    return absent


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist_net3", "sign_net", "conv_transformer"])
def test_every_panel_of_each_kind_of_network(name: str, tmp_path: Path, signs: Path) -> None:
    absent = check_every_panel(examine(tmp_path, signs, name, 32, count=1))

    assert absent == (set() if name == "conv_transformer" else {"attention"})


@pytest.mark.parametrize(
    ("network", "size", "settings", "absent"),
    [
        ("Own", 20, {}, {"attention"}),
        ("Own", 33, {"channels": 3}, {"attention"}),
        ("Student", 28, {}, {"attention"}),
        ("Flat", 16, {}, {"attention", "filters", "responses"}),
    ],
)
def test_every_panel_of_a_network_of_ones_own(
    network: str,
    size: int,
    settings: dict[str, Any],
    absent: set[str],
    tmp_path: Path,
    signs: Path,
    own: str,
) -> None:
    model = f"{own}:{network}"
    assert (
        check_every_panel(examine(tmp_path, signs, model, size, settings=settings, count=1))
        == absent
    )


def test_position_planes_are_no_part_of_the_image(tmp_path: Path, signs: Path) -> None:
    settings = {"resize": "glyph", "position_channels": True}
    examination = examine(tmp_path, signs, "glyph_net", settings=settings)

    assert check_every_panel(examination) == {"attention"}
    assert responses(examination).arrays["weights"].shape[1] == 1


def test_the_page_holds_every_panel_with_its_caution(small: Examination, tmp_path: Path) -> None:
    write_page(small, run_panels(small, PANELS), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()

    assert re.findall(r'<section id="(\w+)">', page) == [*PANELS]
    assert page.count("What not to conclude") == len(PANELS) - 1  # no attention
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert not re.findall(r"(?:fill|stroke): #", page) and "var(--accent)" in page


@pytest.mark.parametrize("name", PANELS)
def test_every_panel_says_what_it_shows_and_what_not_to_conclude(name: str) -> None:
    texts = re.search(
        rf'"{name}": \("(.+?)",\n\s+"(.+?)"\)', (TEMPLATES / "panel.html").read_text()
    )

    assert texts and all(len(text) > 50 and text.endswith(".") for text in texts.groups())


def test_without_its_images_the_page_shows_the_network(tmp_path: Path) -> None:
    examination = examine(tmp_path, tmp_path / "gone", "mnist_net")
    write_page(examination, run_panels(examination, PANELS), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()

    assert "Inside <bdi>mnist_net</bdi>, without its images." in page
    assert page.count("Cannot load the run&#39;s images again: ") == len(PANELS) - 5


def test_a_class_name_is_never_markup(tmp_path: Path, signs: Path) -> None:
    hostile = "<img src=x onerror=alert(1)> {0}"
    settings, classes = {"rename": {"cross": hostile}}, (hostile, "ring", "stroke")
    examination = examine(tmp_path, signs, "mnist_net", settings=settings, classes=classes)
    write_page(examination, run_panels(examination, PANELS), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()

    assert "onerror" in page and "<img" not in page


def test_each_panel_is_saved_in_every_format(small: Examination, tmp_path: Path) -> None:
    results = run_panels(small, ["layers", "filters", "printout"])
    for name, result in results.items():
        assert not isinstance(result, NotApplicableError)
        for suffix in save_formats(result):
            save(result, tmp_path / f"{name}{suffix}")
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}

    assert names == {
        *("layers.csv", "layers.npz", "printout.txt"),
        *("filters.png", "filters.svg", "filters.npz"),
    }
    assert (tmp_path / "filters.png").read_bytes().startswith(b"\x89PNG")
    assert "conv1" in (tmp_path / "layers.csv").read_text()
    assert (tmp_path / "printout.txt").read_text() == f"{small.model}\n"


def test_layers_have_the_published_sizes_of_mnist_net() -> None:
    steps = layers(models.build("mnist_net", 10), (1, 28, 28))
    convolutions = [layer for layer in steps if layer.kind == "convolution"]

    assert [layer.kind for layer in steps if layer.kind not in ("dropout", "flatten")] == [
        "input",
        *("convolution", "max pool", "ReLU") * 2,
        *("linear", "ReLU", "linear"),
    ]
    assert [layer.output for layer in convolutions] == [(2, 10, 28, 28), (2, 20, 14, 14)]
    assert [layer.multiply_adds for layer in convolutions] == [
        10 * 28 * 28 * 25,
        20 * 14 * 14 * 25 * 10,
    ]
    assert (steps[0].output, steps[-1].output) == ((2, 1, 28, 28), (2, 10))


@pytest.mark.parametrize("name", models.MODELS)
def test_every_parameter_is_in_one_layer(name: str) -> None:
    model = models.build(name, 3, 1, 64)
    steps = layers(model, (1, 64, 64))

    assert sum(layer.parameters for layer in steps) == sum(p.numel() for p in model.parameters())
    assert len({layer.name for layer in steps}) == len(steps)


def test_functions_between_modules_are_layers(own: str) -> None:
    steps = layers(models.build(f"{own}:Own", 3, 3, 20), (3, 20, 20))

    assert [layer.name.rpartition("network.")[2] for layer in steps] == [
        *("input", "stem", "norm", "act", "again", "act_2", "add", "max_pool2d", "mean", "add_2"),
        *("head", "shift"),
    ]
    assert [layer.kind for layer in steps[1:4]] == ["convolution", "batch norm", "ReLU"]
    assert steps[4].multiply_adds == 6 * 20 * 20 * 9 * 3
    assert (steps[-1].kind, steps[-1].parameters) == ("parameters", 6)


def test_a_network_that_needs_values_is_called_with_zeros() -> None:
    class NeedsValues(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(images.flatten(1)) * float(images.max() < 1)

    assert [layer.name for layer in layers(NeedsValues(), (1, 2, 2))] == [
        "input",
        "flatten",
        "head",
    ]


def test_outputs_are_copied_before_they_change_in_place(tmp_path: Path, own: str) -> None:
    model = models.build(f"{own}:Own", 3, 1, 20).eval()
    images = torch.rand(1, 1, 20, 20)
    outputs = {n.rpartition("network.")[2]: v for n, v in layer_outputs(model, images).items()}
    inner = dict(model.named_modules()).get("network", model)

    torch.testing.assert_close(outputs["stem"], inner.stem(images))
    torch.testing.assert_close(outputs["norm"], inner.norm(inner.stem(images)))
    torch.testing.assert_close(outputs["head"], model(images))


def test_a_misspelt_layer_names_the_closest(small: Examination) -> None:
    with pytest.raises(ConfigError, match=r"^No such layer: 'conv3'\. Did you mean 'conv2'\?$"):
        replace(small, layer="conv3")


def test_a_filter_with_a_single_one_shifts_the_image() -> None:
    image, weights = torch.rand(2, 6, 6), torch.zeros(2, 2, 4, 3)
    weights[0, 0, 1, 1] = 1  # the middle
    weights[1, 1, 1, 2] = 1  # its right neighbour
    response = correlate(image, weights)

    torch.testing.assert_close(response[0], image[0])
    torch.testing.assert_close(response[1], F.pad(image[1], (0, 1))[:, 1:])


def test_responses_are_the_convolution_without_bias(small: Examination) -> None:
    arrays, conv = responses(small).arrays, small.model.get_submodule("conv1")
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    output = conv(torch.from_numpy(arrays["image"])[None])[0] - conv.bias[:, None, None]

    np.testing.assert_allclose(arrays["responses"], output.detach().numpy(), atol=1e-5)
    np.testing.assert_array_equal(filters(small).arrays["weights"], conv.weight.detach().numpy())


def test_a_layer_without_filters_is_refused(small: Examination) -> None:
    with pytest.raises(NotApplicableError, match=r"\(conv1, conv2\), got 'hidden'"):
        filters(replace(small, layer="hidden"))
    with pytest.raises(NotApplicableError, match="The panel 'maps' shows the outputs"):
        responses(replace(small, layer="conv2"))


def test_attributions_of_a_linear_network_are_its_weights(linear: Examination) -> None:
    std = linear.preprocess.std
    for panel in (saliency, integrated_gradients):
        arrays = panel(linear).arrays
        expected = weights_of(linear, arrays["target"]) / std
        expected = np.abs(expected) if panel is saliency else expected * arrays["images"][:, 0]
        np.testing.assert_allclose(arrays["values"], expected, atol=1e-5)


def test_integrated_gradients_add_up_to_the_score_above_blank_paper(small: Examination) -> None:
    arrays, planes = integrated_gradients(small).arrays, small.images(4).planes
    scores = small.logits(planes) - small.logits(np.zeros_like(planes))
    expected = scores.gather(1, torch.from_numpy(arrays["target"])[:, None])[:, 0].numpy()

    np.testing.assert_allclose(arrays["values"].sum(axis=(1, 2)), expected, atol=0.02)


def test_occluding_paper_changes_nothing(linear: Examination) -> None:
    arrays = occlusion(linear).arrays
    ink = F.max_pool2d(torch.from_numpy(arrays["images"]), 9, stride=1, padding=4)[:, 0].numpy()

    assert (ink == 0).any() and np.abs(arrays["values"][ink == 0]).max() < 1e-5
    assert np.abs(arrays["values"]).max() > 0.01


def test_log_probabilities_are_the_networks(small: Examination) -> None:
    result = log_probabilities(small)
    expected = small.logits(small.images(10).planes).log_softmax(dim=1).numpy()

    np.testing.assert_allclose(result.arrays["log_probs"], expected, atol=1e-5)
    assert set(result.arrays["labels"].tolist()) == {0, 1, 2}
    assert result.table and result.table.rows[0][1] == f"{expected[0, 0]:.2f}".replace("-", "−")


def test_a_training_image_is_its_own_nearest_neighbour(tmp_path: Path, signs: Path) -> None:
    arrays = nearest(examine(tmp_path, signs, "mnist_net", part="train", count=5)).arrays

    np.testing.assert_allclose(arrays["cosines"][:, 0], 1, atol=1e-5)
    assert (np.diff(arrays["cosines"], axis=1) <= 1e-6).all()
    np.testing.assert_array_equal(arrays["neighbours"][:, 0], arrays["images"])


def test_the_map_of_features_is_the_principal_components(linear: Examination) -> None:
    """The features of this network are its input."""
    inputs = linear.to_input(linear.image_set.take(np.arange(len(linear.image_set))))
    variances = np.linalg.eigvalsh(np.cov(inputs.flatten(1).numpy().T))[::-1]
    points = embedding(linear).arrays["pca"]

    np.testing.assert_allclose(points.var(axis=0, ddof=1), variances[:2], rtol=1e-3)
    linear.__dict__["image_set"] = linear.image_set.subset(np.arange(3))
    with pytest.raises(NotApplicableError, match="at least 4 images, got 3"):
        embedding(linear)


def test_a_set_sorted_by_class_is_sampled_evenly(small: Examination) -> None:
    assert small.images(3).labels.tolist() == [0, 1, 2]
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    mixed = small.image_set.subset(np.array([13, 0, 5, 2]))
    small.__dict__["image_set"] = mixed
    assert small.images(2).labels.tolist() == mixed.labels[:2].tolist()


def test_images_are_chosen_by_number_or_by_being_wrong(small: Examination) -> None:
    chosen, total = replace(small, numbers=(3, 1)).images(30), len(small.image_set)
    every = predictions(replace(small, numbers=tuple(range(1, total + 1)))).arrays
    wrong = predictions(replace(small, count=total, wrong=True)).arrays

    np.testing.assert_array_equal(chosen.planes, small.image_set.take(np.array([2, 0])))
    assert [name.rpartition(" ")[2] for name in chosen.names] == ["3", "1"]
    assert len(wrong["names"])
    np.testing.assert_array_equal(
        wrong["names"], every["names"][every["predicted"] != every["labels"]]
    )


def test_tokens_become_the_square_that_they_come_from() -> None:
    cells = torch.rand(5, 3, 3)

    np.testing.assert_allclose(to_maps(cells.flatten(1).T), cells.numpy())
    assert to_maps(torch.rand(7)).shape == (1, 1, 7)


@pytest.fixture
def transformer() -> ConvTransformer:
    torch.manual_seed(0)
    return ConvTransformer(5, 1, 64).eval()


def test_attention_sums_to_1_and_is_even_without_queries(transformer: ConvTransformer) -> None:
    images = torch.rand(3, 1, 64, 64)
    weights = attention(transformer, images)

    assert weights.shape == (3, 3, 8, 4, 4)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 3, 8, 4))
    for layer in transformer.modules():
        if isinstance(layer, nn.MultiheadAttention):
            layer.in_proj_weight.data[:512] = 0
            layer.in_proj_bias.data[:512] = 0
    even = attention(transformer, images)
    torch.testing.assert_close(even, torch.full_like(even, 1 / 4))
    torch.testing.assert_close(received(even), torch.ones(3, 3, 8, 4))


@pytest.mark.parametrize("name", ["glyph_net", "conv_transformer"])
def test_a_network_without_attention_is_refused(name: str) -> None:
    options = {"layers": 0} if name == "conv_transformer" else {}
    with pytest.raises(NotApplicableError, match="has no attention. conv_transformer is a network"):
        attention(models.build(name, 5, 1, 64, options), torch.rand(1, 1, 64, 64))


def test_attention_is_that_of_pytorchs_own_encoder() -> None:
    """PyTorch's fast path in evaluation never calls the attention modules."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder, tokens = nn.TransformerEncoder(layer, 3).eval(), torch.rand(2, 9, 8)
    weights = attention(encoder, tokens)
    first = encoder.layers[0].self_attn
    _, expected = first(tokens, tokens, tokens, average_attn_weights=False)

    assert weights.shape == (3, 2, 2, 9, 9) and torch.backends.mha.get_fastpath_enabled()
    torch.testing.assert_close(weights[0], expected)
