"""Weights from files: read as what they are, refused as what they are not, never run."""

import hashlib
import os
import pickle
import urllib.error
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from siglum.config import TrainConfig
from siglum.errors import ConfigError, DataError, RunError
from siglum.lab import models, study, transfer
from siglum.lab.device import Device
from siglum.lab.runs import Run
from siglum.lab.trainer import Stopped, resume, train
from siglum.lab.training import Epoch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The weights of a glyph_net of 7 classes, none of whose statistics is 0 or 1."""
    torch.manual_seed(8)
    model = models.build("glyph_net", 7)
    for name, tensor in model.state_dict().items():
        if "running" in name:
            tensor.uniform_(0.5, 2)
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    return path


@pytest.fixture
def config(tiny_config: TrainConfig, file: Path) -> TrainConfig:
    return tiny_config.model_copy(update={"init": f"file:{file}", "epochs": 2})


def fresh() -> nn.Module:
    torch.manual_seed(5)
    return models.build("glyph_net", 3)


@pytest.mark.parametrize("ending", [".pth", ".pt"])
def test_torchs_own_files_are_read_as_safetensors_are(file: Path, ending: str) -> None:
    tensors = transfer.read_weights(f"file:{file}")
    torch.save({**tensors, "classifier.weight": torch.ones(2)}, file.with_suffix(ending))
    again = transfer.read_weights(f"file:{file.with_suffix(ending)}")

    assert again.keys() == tensors.keys() and "head.weight" not in tensors
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_a_file_gives_the_backbone_and_never_a_head(file: Path) -> None:
    model = fresh()
    head = model.head.weight.clone()
    start = transfer.load_pretrained(model, ("a", "b", "c"), f"file:{file}")

    assert start.reset == ("head.weight", "head.bias") and torch.equal(model.head.weight, head)
    for name, tensor in transfer.read_weights(f"file:{file}").items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert (start.run, start.seconds, start.examples) == (f"file:{file}", None, None)


def test_a_head_of_the_same_shape_is_not_adopted(file: Path) -> None:
    """Nobody says that its classes are ours."""
    model = models.build("glyph_net", 7)

    assert transfer.load_pretrained(model, tuple("abcdefg"), f"file:{file}").reset


def test_half_precision_is_widened(file: Path) -> None:
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in transfer.read_weights(f"file:{file}").items()
    }
    save_file(tensors, file)
    model = fresh()
    transfer.load_pretrained(model, ("a", "b", "c"), f"file:{file}")

    weight = model.state_dict()["features.0.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, tensors["features.0.weight"].float())


def test_another_network_is_refused_by_its_first_difference(file: Path) -> None:
    with pytest.raises(RunError) as error:
        transfer.load_pretrained(
            models.build("mnist_net", 3), ("a", "b", "c"), f"file:{file}", seed=0
        )

    assert str(error.value) == (
        f"init must be weights whose backbone is the new network's, got file:{file} with nothing "
        "for 'conv1.weight' where the new network has 10x1x5x5. "
        "Choose the model and the options that the weights are of."
    )


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_a_truncated_file_is_said(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])

    with pytest.raises(DataError, match="must be a whole safetensors file, got one that is not"):
        transfer.read_weights(f"file:{file}")


@pytest.mark.parametrize("keep", [0, 2, 100, -30])
def test_a_truncated_pickle_is_said(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "weights.pth"
    torch.save(fresh().state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(DataError, match="must be a whole file of tensors and nothing else"):
        transfer.read_weights(f"file:{path}")


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("form", ["zip", "plain"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    path, victim = tmp_path / "weights.pth", tmp_path / "victim"
    content = {"features.0.weight": torch.ones(2), "evil": Harmful(victim)}
    if form == "zip":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(Harmful(victim)))

    with pytest.raises(DataError) as error:
        transfer.read_weights(f"file:{path}")

    assert not victim.exists()
    what = "calls for posix.mkdir" if form == "zip" else "torch does not read"
    assert str(error.value) == (
        f"{path} must be a whole file of tensors and nothing else, got one that {what}. "
        "Nothing in it was run. Give a state_dict, or the weights as safetensors."
    )
    pickle.loads(pickle.dumps(Harmful(victim)))  # the harm is real: without the care it is done
    assert victim.exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (torch.ones(3), "a Tensor"),
        ({"epoch": 3, "features.0.weight": torch.ones(2)}, "a int for 'epoch'"),
        ({"state_dict": {"a": torch.ones(2)}}, "a dict for 'state_dict'"),
    ],
)
def test_what_is_no_state_dict_is_said(tmp_path: Path, content: object, kind: str) -> None:
    torch.save(content, tmp_path / "weights.pth")

    with pytest.raises(DataError) as error:
        transfer.read_weights(f"file:{tmp_path / 'weights.pth'}")
    assert str(error.value) == (
        f"{tmp_path / 'weights.pth'} must hold a state_dict, tensors by their names, got {kind}."
    )


def test_places_are_looked_for_under_the_data_folder(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGLUM_DATA", str(file.parent))

    assert transfer.read_weights("file:weights.safetensors")


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("file:", "init must name a file, as in file:weights.safetensors, got 'file:'."),
        (
            "file:nowhere.pth",
            "No such file, here or under SIGLUM_DATA, got nowhere.pth, "
            "which is nothing. For a run leave file: out.",
        ),
        (
            "file:{folder}",
            "No such file, here or under SIGLUM_DATA, got {folder}, "
            "which is a folder. For a run leave file: out.",
        ),
        (
            "file:{folder}/notes.txt",
            "init must name a file that ends in .safetensors, .pth or .pt, got {folder}/notes.txt.",
        ),
        ("file:a.pth#sha256=12", "sha256 of init must be 64 hexadecimal digits, got '12'."),
    ],
)
def test_what_is_no_file_of_weights_is_said(tmp_path: Path, init: str, message: str) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ConfigError) as error:
        transfer.read_weights(init.format(folder=tmp_path))

    assert str(error.value) == message.format(folder=tmp_path)


def test_a_run_says_which_content_it_began_with(
    file: Path, config: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    run = train(config, tmp_path / "run", machine)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    assert run.config.init == f"file:{file}#sha256={digest}"
    start = run.env["init"]
    assert (start["run"], start["reset_numbers"]) == (f"file:{file}", 3 * 576 + 3)
    told = transfer.describe(start, (), 25_619, 25_619)
    assert told.startswith(f"23,891 numbers of file:{file}, as they were; a new head of 1,731;")


def test_resuming_goes_on_to_the_same_bits_and_needs_the_same_file(
    file: Path, config: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    whole = train(config, tmp_path / "whole", machine)
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", machine, lambda record: isinstance(record, Epoch))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match="has the SHA-256"):
        resume(Run(tmp_path / "run"), machine)
    file.write_bytes(content)
    run = resume(Run(tmp_path / "run"), machine)

    for name in ("best", "last", "lowest_loss"):
        weights = f"{name}.safetensors"
        assert (run.path / weights).read_bytes() == (whole.path / weights).read_bytes()


def test_shuffling_and_freezing_work_on_a_file(
    file: Path, config: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    config = config.model_copy(update={"shuffle_init": True, "freeze": ("backbone",), "epochs": 1})
    run = train(config, tmp_path / "run", machine)
    theirs, ours = transfer.read_weights(f"file:{file}"), run.model().state_dict()

    assert run.env["init"]["shuffled"]
    for name, tensor in theirs.items():
        assert torch.equal(ours[name].flatten().sort().values, tensor.flatten().sort().values), name
    assert not torch.equal(ours["features.3.weight"], theirs["features.3.weight"])


def test_a_study_knows_a_file_by_its_content(file: Path, tmp_path: Path) -> None:
    text = '[base]\nepochs = 1\ninit = "file:{}"'

    def cell(place: object) -> study.Cell:
        (tmp_path / "study.toml").write_text(text.format(place))
        return study.read_study(tmp_path / "study.toml", Path("runs")).cells[0]

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    first = cell(file)
    moved = file.rename(tmp_path / "elsewhere.safetensors")

    assert first.config.init == f"file:{file}#sha256={digest}"
    assert cell(moved).key == first.key
    assert cell(f"gone.pth#sha256={digest}").key == first.key  # a page needs no weights
    moved.write_bytes(moved.read_bytes() + b" ")
    assert cell(moved).key != first.key
    with pytest.raises(ConfigError, match="No such file"):
        cell(file)


def test_torchvision_has_weights_for_its_networks_only() -> None:
    with pytest.raises(ConfigError) as error:
        transfer.load_pretrained(fresh(), ("a", "b", "c"), "torchvision")

    assert str(error.value) == (
        "init torchvision must go with one of torchvision's networks (mobilenet_v3_large, "
        "mobilenet_v3_small), got GlyphNet. Give a run or file:FILE."
    )


def test_a_download_that_fails_is_said_with_its_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy answers there; random weights do not take the place of those that were asked for."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    model = models.build("mobilenet_v3_small", 3, 1, 64)

    with pytest.raises(DataError) as error:
        transfer.load_pretrained(model, ("a", "b", "c"), "torchvision")

    assert isinstance(error.value.__cause__, urllib.error.URLError)
    assert str(error.value).startswith("init torchvision must be able to download https://")
    assert str(error.value).endswith(
        "Bring the file from elsewhere and give --init file:FILE, or train from scratch: "
        "--init scratch."
    )


def test_what_torchvision_has_downloaded_is_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in torch's cache stands for the download."""
    from torchvision.models import MobileNet_V3_Small_Weights, get_model

    torch.manual_seed(4)
    theirs = get_model("mobilenet_v3_small", weights=None).state_dict()
    theirs["features.0.1.running_mean"] += 1
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    name = MobileNet_V3_Small_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(theirs, tmp_path / "hub" / "checkpoints" / name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = models.build("mobilenet_v3_small", 3, 1, 64)
    start = transfer.load_pretrained(model, ("a", "b", "c"), "torchvision")

    assert start.run == "torchvision" and len(start.reset) == 7  # the head's
    state = model.state_dict()
    assert all(torch.equal(state[name], theirs[name]) for name in start.adopted)
