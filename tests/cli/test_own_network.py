"""A network that was trained elsewhere, with its weights: evaluate, examine, report and compare."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from siglum.images import sources
from siglum.lab.run_folder import Run

NETWORKS = '''
from __future__ import annotations
import dataclasses
import sys
import torch
import torch.nn.functional as F
from torch import nn
from layers_of_mine import Flatten

class MyNetwork(nn.Module):
    """As tutorials write it: an argument of its own, and log-probabilities."""

    def __init__(self, hidden=20):
        super().__init__()
        self.flatten = Flatten()
        self.fc1, self.fc2 = nn.Linear(784, hidden), nn.Linear(hidden, 3)
        self.same = self.fc1

    def forward(self, x):
        print("forward")
        return F.log_softmax(self.fc2(F.relu(self.fc1(self.flatten(x)))), dim=1)

@dataclasses.dataclass
class Settings:
    hidden: int = 20

class Classes(nn.Sequential):
    def __init__(self, hidden, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(784, hidden), nn.Linear(hidden, num_classes))

class Ten(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(784, 10))

class Raises(nn.Module):
    def forward(self, x):
        raise RuntimeError("no luck")

class Exits(nn.Module):
    def forward(self, x):
        sys.exit("bye")

class NaN(MyNetwork):
    def forward(self, x):
        return super().forward(x) * float("nan")
'''


@pytest.fixture(scope="module")
def place(signs: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with networks, weights, signs and a run."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_net.py").write_text(NETWORKS)
    (folder / "layers_of_mine.py").write_text("from torch.nn import Flatten\n")
    (folder / "raises.py").write_text("1 / 0\n")
    (folder / "exits.py").write_text("import sys\nsys.exit()\n")
    (folder / "empty.py").write_text("")
    shutil.copytree(signs, folder / "signs")
    shutil.copytree(run, folder / "run")
    torch.manual_seed(0)
    fc1, fc2 = torch.nn.Linear(784, 20), torch.nn.Linear(20, 3)
    weights = {"fc1": fc1, "fc2": fc2, "same": fc1}
    state = {f"{n}.{k}": v for n, layer in weights.items() for k, v in layer.state_dict().items()}
    torch.save(state, folder / "model.pth")
    torch.save(fc1, folder / "whole.pth")
    torch.save(fc2.state_dict(), folder / "other.pth")
    torch.save({}, folder / "none.pth")
    linear = {f"1.{k}": v for k, v in torch.nn.Linear(784, 10).state_dict().items()}
    torch.save(linear, folder / "ten.pth")
    two = {f"{i}.{k}": v for i, n in ((1, fc1), (2, fc2)) for k, v in n.state_dict().items()}
    torch.save(two, folder / "two.pth")
    return folder


@pytest.fixture(scope="module")
def imported(siglum, place: Path) -> Path:
    command = ("evaluate", "my_net.py:MyNetwork", "--weights", "model.pth", "signs")
    done = siglum(*command, "-o", "runs/mine", "--json", cwd=place)

    assert done.returncode == 0, done.stderr
    assert "forward" in done.stderr and '"trained_on": null' in done.stdout
    assert json.loads(done.stdout)["run"] == "runs/mine"
    return place / "runs" / "mine"


def expected(place: Path, mean: float, std: float) -> torch.Tensor:
    """The log-probabilities of MyNetwork, by PyTorch alone."""
    state: dict[str, Any] = torch.load(place / "model.pth", weights_only=True)
    images = torch.from_numpy(sources.load(f"{place / 'signs'}", "all").images).flatten(1)
    hidden = ((images / 255 - mean) / std) @ state["fc1.weight"].T + state["fc1.bias"]
    return (hidden.relu() @ state["fc2.weight"].T + state["fc2.bias"]).log_softmax(dim=1)


def test_a_network_is_measured_as_pytorch_computes_it(siglum, place: Path, imported: Path) -> None:
    run = Run(imported)
    result, predictions = run.result, run.predictions()

    assert result is not None and result["test"]["total"] == 72 and run.history == []
    assert result["parameters"] == 785 * 20 + 21 * 3
    for mean, std, flags in ((0.1307, 0.3081, ()), (0.5, 0.25, ("--mean", 0.5, "--std", 0.25))):
        values = expected(place, mean, std)
        right = (values.argmax(dim=1).numpy() == predictions["test_labels"]).sum()
        command = ("evaluate", "my_net.py:MyNetwork", "signs", "--weights", "model.pth")
        done = siglum(*command, "--json", *flags, cwd=place)
        assert json.loads(done.stdout)["accuracy"]["hits"] == right, done.stderr
        if not flags:
            np.testing.assert_allclose(predictions["test_log_probs"], values, atol=1e-4)


def test_the_run_is_evaluated_again_reported_examined_and_compared(
    siglum, place: Path, imported: Path, later_signs: Path, tmp_path: Path
) -> None:
    again = siglum("evaluate", imported, "signs", cwd=place)
    train = siglum("evaluate", imported, "--part", "train", cwd=place)
    report = siglum("report", imported)
    page = siglum("examine", imported)
    flags = ("--test", "signs", "--epochs", 1, "-o", tmp_path)
    trained = siglum("train", later_signs, *flags, cwd=place)
    compared = siglum("compare", imported, tmp_path, "-o", tmp_path / "page.html")

    for done in (again, train, report, page, trained, compared):
        assert done.returncode == 0, done.stderr
    assert "(test images)" in again.stdout and "was trained on" not in again.stdout + train.stdout
    text = (imported / "report.html").read_text()
    assert "trained elsewhere, so there is no learning curve" in text
    assert "1 command measures it again." in text
    assert f"glyph_net and my_net.py:MyNetwork ({imported}): " in compared.stdout
    assert "mine" in siglum("runs", imported.parent).stdout


def test_a_changed_network_is_reported(siglum, place: Path, imported: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "copy")
    file = tmp_path / "copy" / "my_net.py"
    config = tmp_path / "copy" / "runs" / "mine" / "config.json"
    config.write_text(config.read_text().replace(str(place), str(tmp_path / "copy")))
    examine = ("examine", config.parent, "--only", "printout")
    assert "has changed" not in siglum(*examine).stderr
    file.write_text(file.read_text() + "\n")
    changed = siglum(*examine)
    file.unlink()
    gone = siglum(*examine)

    assert changed.returncode == 0 and "my_net.py:MyNetwork has changed: " in changed.stderr
    assert f"No such file: {file}. The class MyNetwork must be in it." in gone.stderr


def test_examine_names_the_panels_that_need_images(siglum, place: Path, tmp_path: Path) -> None:
    command = ("examine", "my_net.py:MyNetwork", "--weights", place / "model.pth")
    image = next((place / "signs" / "ring").iterdir())
    layers = siglum(*command, "--only", "layers", cwd=place)
    some = siglum(
        *command, image, "--save", tmp_path, "--only=answers", "--only=nearest", cwd=place
    )
    images = siglum(*command, "--only=first", "-o", tmp_path / "a.png", "--data=signs", cwd=place)

    assert "steps, 15,763 parameters" in layers.stdout
    assert "nearest: This needs images. Name image files, or --data SOURCE." in some.stdout
    assert images.returncode == 0 and (tmp_path / "a.png").is_file()


def test_a_network_of_torchvision_has_the_classes_of_imagenet(siglum, tmp_path: Path) -> None:
    from torchvision.models import get_model

    torch.manual_seed(0)
    torch.save(get_model("squeezenet1_1").state_dict(), tmp_path / "weights.pth")
    image = Path(__file__).resolve().parents[2] / "docs" / "seven.png"
    command = ("examine", "squeezenet1_1", "--weights", tmp_path / "weights.pth", image)
    answers = siglum(*command, "--only", "answers")
    filters = siglum(*command, "--only", "filters", "-o", tmp_path / "filters.png")

    assert answers.returncode == 0, answers.stderr
    assert "1 file; true classes unknown." in answers.stdout
    assert filters.stdout.endswith("has 64 filters of 3 × 3, each over 3 channels.\n")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("my_net.py:MyNetwrk --weights model.pth signs", "my_net.py, got 'MyNetwrk'."),
        ("my_net.py --weights model.pth signs", "networks: my_net.py:Classes, my_net.py:Ten,"),
        ("empty.py --weights model.pth signs", "No matching nn.Module in "),
        ("gone.py:A --weights model.pth signs", "No such file: "),
        ("resnet81 --weights model.pth signs", "No network 'resnet81'. Name file.py:Class"),
        ("raises.py:A --weights model.pth signs", "raises.py: ZeroDivisionError: division by"),
        ("exits.py:A --weights model.pth signs", "Cannot import "),
        ("my_net.py:Classes --weights two.pth signs", "missing 1 required positional argument: "),
        ("my_net.py:Ten --weights ten.pth signs", "each of the 3 classes, got 10 outputs."),
        ("my_net.py:Raises --weights none.pth signs", "RuntimeError: no luck. Check"),
        ("my_net.py:Exits --weights none.pth signs", "SystemExit: bye. Check"),
        ("my_net.py:NaN --weights model.pth signs", "on 72 images: DivergedError: The network's"),
        ("my_net.py:MyNetwork --weights whole.pth signs", "it calls torch.nn.modules.linear.Lin"),
        ("my_net.py:MyNetwork --weights other.pth signs", '"same.bias"; Unexpected key(s) in stat'),
        ("my_net.py:MyNetwork --weights model.pth signs --model-options.hidden 5", "mismatch for"),
        ("my_net.py:MyNetwork --weights gone.pth signs", "No such file: gone.pth."),
        ("my_net.py:MyNetwork --weights my_net.py signs", "weights must name a .safetensors or "),
        ("my_net.py:MyNetwork --weights model.pth nowhere", "'nowhere' does not exist."),
        ("my_net.py:MyNetwork --weights model.pth", "Give a SOURCE to measure my_net.py:MyNetwo"),
        ("my_net.py:MyNetwork signs", "--weights FILE SOURCE -o RUN"),
        ("my_net.py:MyNetwork signs --mean 0.5", "mean is for a network, together with --weights"),
        ("run --weights model.pth signs", "run is a run, with weights of its own."),
        ("run -o new", "out is for a network, together with --weights."),
    ],
)
def test_a_mistake_is_one_line(siglum, place: Path, command: str, message: str) -> None:
    done = siglum("evaluate", *command.split(), cwd=place)

    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line != "forward"]) == 1


def test_options_reach_the_constructor_and_two_networks_are_compared(
    siglum, place: Path, imported: Path
) -> None:
    flags = ("--weights", "two.pth", "--model-options.hidden", 20, "-o", "runs/two")
    done = siglum("evaluate", "my_net.py:Classes", "signs", *flags, cwd=place)
    compared = siglum("compare", imported, "runs/two", "-o", "page.html", cwd=place)

    assert done.returncode == 0, done.stderr
    assert compared.returncode == 0, compared.stderr
    assert "my_net.py:Classes (runs/two)" in compared.stdout
