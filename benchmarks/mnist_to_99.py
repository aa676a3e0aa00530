"""Seconds of training until 99.0 % on the MNIST test set: ours against torch's tutorial way.

    python -m benchmarks.mnist_to_99 ../data/MNIST/raw --pairs 2

The baseline is what torch's tutorials write: torchvision's dataset with ToTensor and Normalize, a
DataLoader with batches of 64, conv 32 and 64 (3x3), max pool, dropout, 128, 10, Adadelta with
lr 1.0, decayed by 0.7 an epoch. Both are tested after every epoch; testing is not timed, and
neither chooses anything by it but when to stop. Runs in turn, A B A B, with seeds 0, 1, ...
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.rows import about, spread
from siglum.config import TrainConfig
from siglum.images import sources
from siglum.lab import models
from siglum.lab.device import Machine, choose_machine
from siglum.lab.optimizer import make_optimizer
from siglum.lab.recipes.train import load_data
from siglum.lab.training import Epoch, TrainState, chance, evaluate, fit

AIM, MOST_EPOCHS = 0.99, 14


def ours(folder: Path, seed: int, machine: Machine) -> tuple[float, float, int]:
    """Return seconds, test accuracy and epochs of the first length of training that reaches AIM.

    All as `siglum train` does it, a tenth of the training pictures held out included. A one-cycle
    training has its length from the start, so each longer one is begun afresh and all that was
    spent before is counted.
    """
    spent = 0.0
    for epochs in range(1, MOST_EPOCHS + 1):
        start = time.perf_counter()
        config = TrainConfig(data=f"idx:{folder}", epochs=epochs, seed=seed)
        train = load_data(config).train
        preprocess = config.preprocess(*train.moments())
        torch.manual_seed(chance(seed, "weights", 0))
        model = machine.place(models.build(config.model, 10))
        state = TrainState(model, make_optimizer(model, config))
        for record in fit(state, train, None, config, preprocess, machine):
            assert isinstance(record, Epoch) or record.loss > 0
        spent += time.perf_counter() - start
        test = sources.load(config.data, "test", config.preprocess())
        right = evaluate(model, test, preprocess, machine).argmax(axis=1) == test.labels
        if right.mean() >= AIM:
            break
    return spent, float(right.mean()), epochs


class Tutorial(nn.Module):
    """The network of torch's own MNIST example."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images to log-probabilities."""
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        x = F.relu(self.fc1(self.dropout1(x).flatten(1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def tutorial(root: Path, seed: int) -> tuple[float, float, int]:
    """Return seconds, test accuracy and epochs of the baseline."""
    torch.manual_seed(seed)
    start = time.perf_counter()
    to_tensor = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    train = DataLoader(datasets.MNIST(root, True, to_tensor), batch_size=64, shuffle=True)
    test = DataLoader(datasets.MNIST(root, False, to_tensor), batch_size=1000)
    model = Tutorial()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    spent = time.perf_counter() - start
    right, epochs = 0, 0
    while right / 10_000 < AIM and epochs < MOST_EPOCHS:
        start = time.perf_counter()
        model.train()
        for batch, labels in train:
            optimizer.zero_grad()
            F.nll_loss(model(batch), labels).backward()
            optimizer.step()
        schedule.step()
        spent += time.perf_counter() - start
        model.eval()
        with torch.no_grad():
            right = sum(int((model(x).argmax(1) == y).sum()) for x, y in test)
        epochs += 1
    return spent, right / 10_000, epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="holds MNIST's four IDX files, .gz or not")
    parser.add_argument("--pairs", type=int, default=2)
    options = parser.parse_args()
    machine = choose_machine()
    print(about(machine))
    found: dict[str, list[float]] = {"ours": [], "tutorial": []}
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "MNIST" / "raw"  # torchvision unpacks beside; so work on a copy
        shutil.copytree(options.folder, raw)
        datasets.MNIST(folder, download=True)
        for seed in range(options.pairs):
            for name in found:
                seconds, accuracy, epochs = (
                    ours(options.folder, seed, machine)
                    if name == "ours"
                    else tutorial(Path(folder), seed)
                )
                found[name].append(seconds)
                print(
                    f"{name:<9} seed {seed}: {100 * accuracy:.2f} % after {epochs} epochs, "
                    f"{seconds:.1f} s",
                    flush=True,
                )
    ratios = [b / a for a, b in zip(found["ours"], found["tutorial"], strict=True)]
    for name, seconds_each in found.items():
        print(f"{name:<9} {spread(seconds_each)} s to 99.0 %, n = {len(seconds_each)}")
    print(f"ratio     {spread(ratios)} (median {statistics.median(ratios):.1f})")


if __name__ == "__main__":
    main()
