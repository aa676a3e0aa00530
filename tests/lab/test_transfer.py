"""Initial weights from runs and files; frozen parts; code in a file never runs."""

import hashlib
import os
import pickle
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from siglum.config import TrainConfig
from siglum.errors import ConfigError, DataError, RunError
from siglum.lab import models, transfer
from siglum.lab.device import Device
from siglum.lab.models.pretrained import included_weights
from siglum.lab.run_folder import Run
from siglum.lab.train_run import resume, train

NEW_HEAD = ["head.weight", "head.bias"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The weights of a glyph_net of 7 classes; no batch statistic is 0 or 1."""
    torch.manual_seed(8)
    model = models.build("glyph_net", 7)
    for name, tensor in model.state_dict().items():
        if "running" in name:
            tensor.uniform_(0.5, 2)
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    return path


@pytest.fixture
def child(tiny_config: TrainConfig, tiny_run: Run) -> TrainConfig:
    """One epoch from the weights of the tiny run."""
    return tiny_config.model_copy(update={"init": str(tiny_run.path), "epochs": 1})


def fresh(classes: int = 3) -> nn.Module:
    torch.manual_seed(5)
    return models.build("glyph_net", classes)


def load_pretrained(model: nn.Module, run: Run, classes: Sequence[str] = ()) -> dict[str, Any]:
    return transfer.load_pretrained(model, tuple(classes) or run.classes, str(run.path))


def test_a_run_with_the_same_classes_gives_its_head_too(tiny_run: Run) -> None:
    model = fresh()
    init = load_pretrained(model, tiny_run)

    for name, tensor in tiny_run.model().state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    last = tiny_run.history[-1]
    assert (init["reset"], init["seconds"]) == ([], last.seconds)


@pytest.mark.parametrize("classes", ["abcde", "xyz"])
def test_other_classes_get_a_new_head(tiny_run: Run, classes: str) -> None:
    model = fresh(len(classes))
    head = model.head.weight.clone()
    init = load_pretrained(model, tiny_run, classes)

    assert init["reset"] == NEW_HEAD
    assert torch.equal(model.head.weight, head)
    parent = tiny_run.model().state_dict()
    assert torch.equal(model.state_dict()["features.0.weight"], parent["features.0.weight"])


@pytest.mark.parametrize("last", ["fc", "fc2", "out.0"])
def test_the_last_layer_of_an_own_network_is_its_head(last: str, tmp_path: Path) -> None:
    """Whatever its name; a hidden layer may be called as heads are elsewhere."""
    layers = nn.ModuleDict({"conv": nn.Conv2d(1, 4, 3), "classifier": nn.Linear(4, 4)})
    layers[last.partition(".")[0]] = (
        nn.Sequential(nn.Linear(4, 3)) if "." in last else nn.Linear(4, 3)
    )
    weights = {name: tensor + 1 for name, tensor in layers.state_dict().items()}
    torch.save(weights, tmp_path / "net.pth")
    init = transfer.load_pretrained(layers, ("a", "b", "c"), f"file:{tmp_path / 'net.pth'}")
    transfer.freeze(layers, ("backbone",))

    assert init["reset"] == [f"{last}.weight", f"{last}.bias"]
    assert torch.equal(layers["classifier"].weight, weights["classifier.weight"])
    assert models.count_parameters(layers) == 15


@pytest.mark.parametrize("classes", [3, 7])
def test_a_file_gives_the_backbone_and_never_a_head(file: Path, classes: int) -> None:
    model = fresh(classes)
    head = model.head.weight.clone()
    init = transfer.load_pretrained(model, tuple("abcdefg"[:classes]), f"file:{file}")

    assert init["reset"] == NEW_HEAD and torch.equal(model.head.weight, head)
    for name, tensor in transfer.read_weights(f"file:{file}").items():
        assert name in NEW_HEAD or torch.equal(model.state_dict()[name], tensor), name
    assert (init["run"], init["seconds"], init["examples"]) == (f"file:{file}", None, None)


@pytest.mark.parametrize(
    ("name", "channels", "difference"),
    [
        ("glyph_net", 3, r"size mismatch for features.0.weight: .*\[16, 1, 5, 5\]"),
        ("mnist_net", 1, r'Missing key\(s\) in state_dict: "conv1.weight".*; Unexpected key'),
    ],
)
def test_another_backbone_is_refused_by_its_differences(
    tiny_run: Run, file: Path, name: str, channels: int, difference: str
) -> None:
    for init in (str(tiny_run.path), f"file:{file}"):
        start = re.escape(f"The weights of {init} do not fit: ")
        with pytest.raises(RunError, match=f"^{start}{difference}.* Use the model, size, chann"):
            transfer.load_pretrained(models.build(name, 3, channels), tiny_run.classes, init)


def test_an_unfinished_parent_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "half")
    (tmp_path / "half" / "result.json").unlink()
    with pytest.raises(RunError, match="half is not finished. Resume it with: siglum train --res"):
        load_pretrained(fresh(), Run(tmp_path / "half"))


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("safetensors", "is damaged: .* Copy or download it again"),
        ("pth", "is not a file of tensors only: PyTorch cannot read it"),
    ],
)
@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_shortened_file_fails(tmp_path: Path, suffix: str, message: str, length: int) -> None:
    path, weights = tmp_path / f"weights.{suffix}", fresh().state_dict()
    if suffix == "pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(DataError, match=message):
        transfer.read_weights(f"file:{path}")


class Harmful:
    """Creates a folder when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("form", ["zip", "plain"])
def test_code_in_a_pickle_is_refused_and_never_run(tmp_path: Path, form: str) -> None:
    path, victim = tmp_path / "weights.pth", tmp_path / "victim"
    if form == "zip":
        torch.save({"features.0.weight": torch.ones(2), "evil": Harmful(victim)}, path)
    else:
        path.write_bytes(pickle.dumps(Harmful(victim)))

    with pytest.raises(DataError) as error:
        transfer.read_weights(f"file:{path}")

    assert not victim.exists()
    reason = "it calls posix.mkdir" if form == "zip" else "PyTorch cannot read it as a state_dict"
    assert f"{path} is not a file of tensors only: {reason}. No code in it" in str(error.value)
    pickle.loads(pickle.dumps(Harmful(victim)))  # the danger is real
    assert victim.exists()


@pytest.mark.parametrize(
    "content", [torch.ones(3), {"epoch": 3, "a": torch.ones(2)}, {"state_dict": {"a": 1}}], ids=str
)
def test_a_file_with_anything_but_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")

    with pytest.raises(DataError, match="is not a file of tensors only"):
        transfer.read_weights(f"file:{tmp_path / 'weights.pth'}")


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("file:gone.pth", "neither here nor under SIGLUM_DATA. For a run, leave out file:"),
        ("file:{folder}/notes.txt", "must name a .safetensors or .pth or .pt file, got "),
    ],
)
def test_an_init_that_names_no_weights_is_refused(tmp_path: Path, init: str, message: str) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ConfigError, match=message):
        transfer.read_weights(init.format(folder=tmp_path))


def test_files_are_found_in_the_data_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGLUM_DATA", str(file.parent))

    assert transfer.read_weights("file:weights.safetensors")


@pytest.mark.parametrize("key", ["", "state_dict", "model_state_dict", "model"])
def test_a_checkpoint_gives_its_state_dict(tmp_path: Path, key: str) -> None:
    """As DataParallel and torch.compile name its tensors, too."""
    state = {"_orig_mod.module.a": torch.ones(2)}
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "weights.pth")

    assert [*transfer.read_weights(f"file:{tmp_path / 'weights.pth'}")] == ["a"]


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "resnet18", pytest.param("vgg11", marks=pytest.mark.slow)]
)
def test_a_file_of_torchvision_fits_its_network(name: str, tmp_path: Path) -> None:
    from torchvision.models import get_model

    torch.manual_seed(4)
    theirs = get_model(name, weights=None).state_dict()
    torch.save(theirs, tmp_path / "weights.pth")
    model = models.build(name, 3, 1, 64)
    init = transfer.load_pretrained(model, ("a", "b", "c"), f"file:{tmp_path / 'weights.pth'}")

    assert all(name.startswith("head.") for name in init["reset"])
    state = model.state_dict()
    assert all(torch.equal(state[name], theirs[name]) for name in init["adopted"])


def test_a_checksum_accepts_this_content_only(file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    assert transfer.read_weights(f"file:{file}#sha256={digest}")
    with pytest.raises(DataError, match=f"has the SHA-256 {digest}, not 12. Use the right file"):
        transfer.read_weights(f"file:{file}#sha256=12")


def test_freezing_the_backbone_trains_only_the_head(
    tiny_run: Run, child: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    """The statistics of its batch normalisations do not change either."""
    run = train(child.model_copy(update={"freeze": ("backbone",)}), tmp_path / "probe", machine)
    before, after = tiny_run.model().state_dict(), run.model().state_dict()

    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) != name.startswith("head."), name
    assert run.result is not None and run.result["trained"] == 3 * 576 + 3
    assert run.env["init"]["run"] == str(tiny_run.path)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("feature",), "Parts: backbone, features, head, and parts of these. Did you mean 'feat"),
        (("backbone", "head"), "freeze backbone, head leaves nothing to train."),
    ],
)
def test_freezing_nothing_or_everything_is_refused(parts: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        transfer.freeze(fresh(), parts)
    with pytest.raises(ConfigError, match="The network has nothing to train. Keep its layers as"):
        transfer.freeze(nn.Flatten(), ())


def test_the_cost_of_parents_adds_up_and_resuming_needs_the_same_parent(
    tiny_run: Run, child: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    parent = train(child, tmp_path / "parent", machine)
    run = train(child.model_copy(update={"init": str(parent.path)}), tmp_path / "run", machine)
    seconds = tiny_run.history[-1].seconds + parent.history[-1].seconds
    assert run.env["init"]["seconds"] == pytest.approx(seconds)

    (run.path / "result.json").unlink()
    weights = parent.model()
    with torch.no_grad():
        weights.head.bias.add_(1)
    parent.save_checkpoint("last", weights)
    with pytest.raises(RunError, match="Cannot resume .* the initial weights, .* changed"):
        resume(run, machine)


def test_sign_net_trains_a_head_on_the_included_backbone(
    tmp_path: Path, signs: Path, machine: Device
) -> None:
    config = TrainConfig(data=f"folder:{signs}", model="sign_net", epochs=1)
    run = train(config, tmp_path / "run", machine)

    init, backbone = run.env["init"], included_weights()
    assert init["run"] == "backbone" and init["reset"] == NEW_HEAD
    assert run.result is not None and run.result["trained"] == 3 * (2 * 128 + 3 + 1)
    trained = run.model().state_dict()
    assert all(torch.equal(trained[name], weight) for name, weight in backbone.items())


def test_the_backbone_fits_no_other_size(tmp_path: Path, signs: Path, machine: Device) -> None:
    config = TrainConfig(data=f"folder:{signs}", model="sign_net", size=28)
    with pytest.raises(RunError, match="The weights of backbone do not fit: size mismatch"):
        train(config, tmp_path / "run", machine)
