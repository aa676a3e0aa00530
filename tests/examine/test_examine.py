"""The panels show what is in the network: closed forms, PyTorch's own values, every network."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siglum.config import TrainConfig
from siglum.examine import Examination, NotApplicableError, layers, observe, panels
from siglum.examine.panels import PANELS, Result, attention, run_panel, write_page
from siglum.lab import models
from siglum.lab.device import choose_device
from siglum.lab.run_folder import Run
from siglum.lab.train_run import environment, load_data

CPU = choose_device("cpu", "float32", threads=1)
OWN = '''
import torch
import torch.nn.functional as F
from torch import nn

class Own(nn.Module):
    """Batch normalisation, changes in place, a sum, a mean, and functions instead of modules."""

    def __init__(self, num_classes, in_channels=1, image_size=28):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.again = nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.shift = nn.Parameter(torch.zeros(6))
        self.head = nn.Linear(6, num_classes)

    def forward(self, images):
        x = self.act(self.norm(self.stem(images)))
        x = F.max_pool2d(x + self.act(self.again(x)), 2)
        return self.head(x.mean(dim=(2, 3)) + self.shift)

class Student(nn.Module):
    """As tutorials write it: no forward_features, no head, layers created on the way."""

    def __init__(self, num_classes=3, in_channels=1, image_size=28):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 4, 5)
        self.fc1 = nn.Linear(4 * ((image_size - 4) // 2) ** 2, 20)
        self.fc2 = nn.Linear(20, num_classes)

    def forward(self, x):
        x = nn.ReLU()(F.max_pool2d(self.conv1(x), 2))
        return self.fc2(F.relu(self.fc1(x.flatten(1))))

class Flat(nn.Module):
    def __init__(self, num_classes, in_channels=1, image_size=28):
        super().__init__()
        self.head = nn.Linear(in_channels * image_size**2, num_classes, bias=False)

    def forward(self, images):
        return self.head(images.flatten(1))
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN)
    return str(path)


def make_run(
    folder: Path,
    data: Path,
    model: str,
    size: int = 28,
    classes: tuple[str, ...] = ("cross", "ring", "stroke"),
    **settings: Any,
) -> Run:
    """Return an interrupted run of a network with random weights."""
    config = TrainConfig(data=f"folder:{data}", model=model, size=size, val=0.2, **settings)
    preprocess = config.preprocess(0.1, 0.3)
    torch.manual_seed(0)
    network = models.build(model, 3, preprocess.planes, size, config.model_options)
    parts = load_data(config, classes).parts if data.is_dir() else {}
    run = Run.create(folder / "run", config, preprocess, classes, environment(CPU, parts))
    run.save_checkpoint("best", network)
    run.save_checkpoint("last", network)
    return run


def examine(run: Run, **options: Any) -> Examination:
    return Examination(run, CPU, **options)


def panel(examination: Examination, name: str) -> Result:
    return PANELS[name](examination)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, signs: Path) -> Run:
    return make_run(tmp_path_factory.mktemp("small"), signs, "mnist_net")


@pytest.fixture(scope="module")
def small(run: Run) -> Examination:
    return examine(run)


@pytest.fixture
def linear(tmp_path: Path, signs: Path, own: str) -> Examination:
    """A linear network: what each attribution must be is known."""
    return examine(make_run(tmp_path, signs, f"{own}:Flat"))


@pytest.mark.parametrize(
    ("network", "size", "settings", "absent"),
    [
        pytest.param("picture_net", 32, {}, {"attention"}, marks=pytest.mark.slow),
        pytest.param("conv_transformer", 32, {}, set(), marks=pytest.mark.slow),
        ("resnet18", 32, {}, {"attention"}),
        ("patch_transformer", 16, {"model_options": {"pool": "class"}}, set()),
        ("glyph_net", 28, {"resize": "glyph", "position_channels": True}, {"attention"}),
        (":Own", 33, {"channels": 3}, {"attention"}),
        (":Student", 28, {}, {"attention"}),
        (":Flat", 16, {}, {"attention", "filters", "responses"}),
    ],
)
def test_every_panel_of_each_kind_of_network(
    network: str,
    size: int,
    settings: dict[str, Any],
    absent: set[str],
    tmp_path: Path,
    signs: Path,
    own: str,
) -> None:
    model = own + network if network.startswith(":") else network
    examination = examine(make_run(tmp_path, signs, model, size, **settings), count=1)
    results = {name: run_panel(examination, name) for name in PANELS}

    assert {name for name, result in results.items() if result.missing} == absent
    for name, result in results.items():
        assert result.figure or result.table or result.text or result.missing
        for key, values in result.arrays.items():
            assert values.dtype != object, (name, key)
            assert values.dtype.kind != "f" or np.isfinite(values).all(), (name, key)
    if settings.get("position_channels"):
        assert results["responses"].arrays["weights"].shape[1] == 1  # of the image alone


def test_the_page_has_every_panel_with_caution_and_safe_names(tmp_path: Path, signs: Path) -> None:
    hostile = "<img src=x onerror=alert(1)> {0}"
    settings, classes = {"rename": {"cross": hostile}}, (hostile, "ring", "stroke")
    examination = examine(make_run(tmp_path, signs, "mnist_net", classes=classes, **settings))
    results = {name: run_panel(examination, name) for name in PANELS}
    write_page(examination, results, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()

    assert re.findall(r'<section id="(\w+)">', page) == [*PANELS]
    assert page.count("<dt>Limits</dt>") == len(PANELS) - 1  # no attention
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert not re.findall(r"(?:fill|stroke): #", page) and "var(--accent)" in page
    assert page.count('role="img" aria-label="') == page.count("<svg") > 10
    assert "onerror" in page and "<img" not in page


def test_without_its_images_the_page_shows_the_network(tmp_path: Path) -> None:
    examination = examine(make_run(tmp_path, tmp_path / "gone", "mnist_net"))
    results = {name: run_panel(examination, name) for name in PANELS}
    write_page(examination, results, tmp_path / "page.html")
    page = " ".join((tmp_path / "page.html").read_text().split())

    assert "Inside <bdi>mnist_net</bdi>, without its images." in page
    assert page.count("Cannot load the run&#39;s images again: ") == len(PANELS) - 5


def test_layers_have_the_published_sizes_of_mnist_net() -> None:
    steps = layers(models.build("mnist_net", 10), (1, 28, 28))
    convolutions = [layer for layer in steps if layer.kind == "convolution"]

    assert [layer.output for layer in convolutions] == [(2, 10, 28, 28), (2, 20, 14, 14)]
    products = [10 * 28 * 28 * 25, 20 * 14 * 14 * 25 * 10]
    assert [layer.multiply_adds for layer in convolutions] == products
    assert (steps[0].output, steps[-1].output) == ((2, 1, 28, 28), (2, 10))


def test_panels_that_need_a_gradient_say_where_there_is_none(run: Run, tmp_path: Path) -> None:
    examination = examine(run)
    examination.model = models.build("knn", len(run.classes)).eval()
    with pytest.raises(NotApplicableError, match="NearestNeighbours has no gradient. The panel"):
        panel(examination, "saliency")
    assert panel(examination, "occlusion").figure


@pytest.mark.parametrize("name", models.MODELS)
def test_every_parameter_is_in_one_layer(name: str) -> None:
    model = models.build(name, 3, 1, 64)
    steps = layers(model, (1, 64, 64))

    assert sum(layer.parameters for layer in steps) == sum(p.numel() for p in model.parameters())
    assert len({layer.name for layer in steps}) == len(steps)


def test_attention_is_counted() -> None:
    """PyTorch's counter knows most ways to compute it, but not the CPU's own."""
    steps = layers(models.build("conv_transformer", 3, 1, 64), (1, 64, 64))
    tokens, width = next(layer.output[1:] for layer in steps if layer.kind == "attention")
    expected = 4 * tokens * width**2 + 2 * tokens**2 * width

    assert {s.multiply_adds for s in steps if s.kind == "attention"} == {expected}


def test_functions_and_modules_made_on_the_way_are_layers(own: str) -> None:
    steps = layers(models.build(f"{own}:Own", 3, 3, 20), (3, 20, 20))

    assert [layer.name.rpartition("network.")[2] for layer in steps] == [
        *("input", "stem", "norm", "act", "again", "act_2", "add", "max_pool2d", "mean", "add_2"),
        *("head", "shift"),
    ]
    assert [layer.kind for layer in steps[1:4]] == ["convolution", "batch norm", "ReLU"]
    assert steps[4].multiply_adds == 6 * 20 * 20 * 9 * 3
    assert (steps[-1].kind, steps[-1].parameters) == ("parameters", 6)
    student = layers(models.build(f"{own}:Student", 3), (1, 28, 28))
    assert [layer.kind for layer in student] == [
        *("input", "convolution", "max pool", "ReLU", "flatten", "linear", "ReLU", "linear")
    ]


def test_outputs_are_copied_before_they_change_in_place(own: str) -> None:
    model = models.build(f"{own}:Own", 3, 1, 20).eval()
    images = torch.rand(1, 1, 20, 20)
    outputs = {step.name.rpartition("network.")[2]: v for step, v in observe(model, images)}
    inner = dict(model.named_modules()).get("network", model)

    torch.testing.assert_close(outputs["stem"], inner.stem(images))
    torch.testing.assert_close(outputs["norm"], inner.norm(inner.stem(images)))
    torch.testing.assert_close(outputs["head"], model(images))


def test_responses_are_the_convolution_without_bias(small: Examination) -> None:
    arrays, conv = panel(small, "responses").arrays, small.model.get_submodule("conv1")
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    output = conv(torch.from_numpy(arrays["image"])[None])[0] - conv.bias[:, None, None]

    np.testing.assert_allclose(arrays["responses"], output.detach().numpy(), atol=1e-5)
    weights = panel(small, "filters").arrays["weights"]
    np.testing.assert_array_equal(weights, conv.weight.detach().numpy())


def test_responses_of_a_grey_image_add_up_over_the_three_channels_that_it_fills(
    tmp_path: Path, signs: Path
) -> None:
    examination = examine(make_run(tmp_path, signs, "resnet18", 32))
    arrays, conv = panel(examination, "responses").arrays, examination.model.conv1
    output = conv(torch.from_numpy(arrays["image"]).expand(1, 3, 32, 32))[0]

    every_second = arrays["responses"][:, ::2, ::2]  # its stride is 2
    np.testing.assert_allclose(every_second, output.detach().numpy(), atol=1e-5)
    assert panel(examination, "filters").arrays["weights"].shape == (64, 3, 7, 7)


def test_a_layer_that_a_panel_cannot_show_is_refused(run: Run) -> None:
    with pytest.raises(NotApplicableError, match=r"\(conv1, conv2\), got 'hidden'"):
        panel(examine(run, layer="hidden"), "filters")
    with pytest.raises(NotApplicableError, match="The panel 'maps' shows the outputs"):
        panel(examine(run, layer="conv2"), "responses")


def test_attributions_of_a_linear_network_are_its_weights(linear: Examination) -> None:
    std = linear.preprocess.std
    for name in ("saliency", "integrated_gradients"):
        arrays = panel(linear, name).arrays
        weights = [p for p in linear.model.parameters() if p.ndim == 2][-1].detach().numpy()
        expected = weights[arrays["target"]].reshape(-1, 28, 28) / std
        expected = np.abs(expected) if name == "saliency" else expected * arrays["images"][:, 0]
        np.testing.assert_allclose(arrays["values"], expected, atol=1e-5)


def test_integrated_gradients_add_up_to_the_score_above_blank_paper(small: Examination) -> None:
    arrays = panel(small, "integrated_gradients").arrays
    images = small.to_input(small.sample(4).images)
    paper = torch.full_like(images, -small.preprocess.mean / small.preprocess.std)
    scores = (small.model(images) - small.model(paper)).detach().numpy()
    expected = scores[np.arange(len(scores)), arrays["target"]]

    np.testing.assert_allclose(arrays["values"].sum(axis=(1, 2)), expected, atol=0.02)


def test_occluding_paper_changes_nothing(linear: Examination) -> None:
    arrays = panel(linear, "occlusion").arrays
    ink = F.max_pool2d(torch.from_numpy(arrays["images"]), 9, stride=1, padding=4)[:, 0].numpy()

    assert (ink == 0).any() and np.abs(arrays["values"][ink == 0]).max() < 1e-5
    assert np.abs(arrays["values"]).max() > 0.01


def test_log_probabilities_are_the_networks(small: Examination) -> None:
    result = panel(small, "answers")
    logits = small.model(small.to_input(small.sample(10).images))
    expected = logits.log_softmax(dim=1).detach().numpy()

    np.testing.assert_allclose(result.arrays["log_probs"], expected, atol=1e-5)
    assert set(result.arrays["labels"].tolist()) == {0, 1, 2}
    assert result.table and result.table.rows[0][1] == f"{expected[0, 0]:.2f}".replace("-", "−")


def test_a_training_image_is_its_own_nearest_neighbour(run: Run) -> None:
    arrays = panel(examine(run, part="train", count=5), "nearest").arrays

    np.testing.assert_allclose(arrays["cosines"][:, 0], 1, atol=1e-5)
    assert (np.diff(arrays["cosines"], axis=1) <= 1e-6).all()
    np.testing.assert_array_equal(arrays["neighbours"][:, 0], arrays["images"])


def test_the_map_of_features_is_the_principal_components(linear: Examination) -> None:
    """The features of this network are its input."""
    part, images = linear.own_images
    inputs = linear.to_input(images)
    variances = np.linalg.eigvalsh(np.cov(inputs.flatten(1).numpy().T))[::-1]
    points = panel(linear, "embedding").arrays["pca"]

    np.testing.assert_allclose(points.var(axis=0, ddof=1), variances[:2], rtol=1e-3)
    linear.__dict__["own_images"] = part, images.subset(np.arange(3))
    with pytest.raises(NotApplicableError, match="at least 4 images, got 3"):
        panel(linear, "embedding")


def test_images_are_chosen_evenly_by_number_or_by_being_wrong(small: Examination, run: Run) -> None:
    assert small.sample(3).labels.tolist() == [0, 1, 2]
    images = small.own_images[1]
    chosen = examine(run, numbers=(3, 1)).sample(30)
    every = panel(examine(run, numbers=range(1, len(images) + 1)), "predictions").arrays
    wrong = panel(examine(run, count=len(images), wrong=True), "predictions").arrays

    np.testing.assert_array_equal(chosen.images.images, images.take(np.array([2, 0])))
    assert chosen.names == ["validation image 3", "validation image 1"]
    assert len(wrong["names"])
    expected = every["names"][every["predicted"] != every["labels"]]
    np.testing.assert_array_equal(wrong["names"], expected)


def test_attention_is_that_of_pytorchs_own_encoder() -> None:
    """PyTorch's fast path in evaluation never calls the attention modules."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder, tokens = nn.TransformerEncoder(layer, 3).eval(), torch.rand(2, 9, 8)
    weights = attention(encoder, tokens)
    first = encoder.layers[0].self_attn
    _, expected = first(tokens, tokens, tokens, average_attn_weights=False)

    assert weights.shape == (3, 2, 2, 9, 9)
    torch.testing.assert_close(weights[0], expected)


@pytest.mark.parametrize(("pool", "patch"), [("mean", 4), ("class", 6)])
def test_attention_is_drawn_at_the_centres_of_overlapping_patches(
    pool: str, patch: int, tmp_path: Path, signs: Path
) -> None:
    options = {"pool": pool, "patch": patch, "depth": 1, "heads": 2}
    result = panel(
        examine(make_run(tmp_path, signs, "patch_transformer", model_options=options)), "attention"
    )
    weights, shares = result.arrays["weights"], result.arrays["shares"]
    side, tokens = (28 - patch) // 2 + 1, weights.shape[-1]
    of_cells = weights[0, :, 0, 1:] if pool == "class" else weights[0].mean(axis=1)

    assert tokens == side**2 + (pool == "class")
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(shares[0], tokens * of_cells.reshape(2, side, side), rtol=1e-5)
    assert result.figure
    heat = result.figure.axes[0].images[1].get_array()  # over the image of the first head
    centres = 2 * np.arange(side) + patch // 2
    expected = panels.HEAT((shares[0, 0] / panels.EVEN_LIMIT + 1) / 2)
    for pixel in (centres - 1, centres):
        np.testing.assert_allclose(heat[pixel[:, None], pixel], expected)
