"""Images a second of training the published `mnist_net`, batch 64, SGD, float32: three ways.

    python -m benchmarks.mnist_net ../data/MNIST/raw --rounds 3

- loader: torchvision's dataset with ToTensor and Normalize in a DataLoader, the network written
  plainly with nn.Dropout.
- tensors: the same network on tensors that lie in memory, normalised.
- ours: `fit`, as `siglum train --model mnist_net --precision float32` calls it; and once more in
  the precision that it chooses by itself, where that is another.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.rows import about, spread
from siglum.config import TrainConfig
from siglum.images import sources
from siglum.lab import models
from siglum.lab.device import Machine, choose_machine
from siglum.lab.optimizer import make_optimizer
from siglum.lab.training import TrainState, fit

BATCH, WARM_STEPS = 64, 20


class Plain(nn.Module):
    """mnistNet as its report's readers would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, 5, padding=2), nn.Conv2d(10, 20, 5, padding=2)
        self.dropout = nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(980, 50), nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to log-probabilities."""
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.dropout(self.conv2(x)), 2))
        return F.log_softmax(self.fc2(F.relu(self.fc1(x.flatten(1)))), dim=1)


def plain_rate(batches: Callable[[], object], steps: int) -> float:
    """Train the plain network on what `batches` yields; images a second."""
    torch.manual_seed(0)
    model = Plain()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    start = 0.0
    for step, (batch, labels) in enumerate(batches()):  # type: ignore[call-overload]
        if step == WARM_STEPS:
            start = time.perf_counter()
        if step == WARM_STEPS + steps:
            break
        optimizer.zero_grad()
        F.nll_loss(model(batch), labels).backward()
        optimizer.step()
    return BATCH * steps / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="holds MNIST's four IDX files, .gz or not")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    exact, quick = choose_machine(precision="float32"), choose_machine()
    print(about(exact))

    config = TrainConfig(data=f"idx:{options.folder}", model="mnist_net", epochs=1)
    train = sources.load(config.data, "train", config.preprocess())
    preprocess = config.preprocess(0.1307, 0.3081)
    whole = (torch.from_numpy(train.images).float() / 255 - 0.1307) / 0.3081
    labels = torch.from_numpy(train.labels)

    def tensors() -> object:
        order = torch.randperm(len(whole))
        return ((whole[rows], labels[rows]) for rows in order.split(BATCH))

    def ours(machine: Machine) -> float:
        torch.manual_seed(0)
        model = machine.place(models.build("mnist_net", 10))
        state = TrainState(model, make_optimizer(model, config))
        start, begun = 0.0, 0
        for _ in fit(state, train, None, config, preprocess, machine):
            if not begun and state.step >= WARM_STEPS:
                start, begun = time.perf_counter(), state.step
            if state.step >= WARM_STEPS + options.steps:
                break
        return BATCH * (state.step - begun) / (time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(options.folder, Path(folder) / "MNIST" / "raw")
        to_tensor = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )
        dataset = datasets.MNIST(folder, True, to_tensor, download=True)

        def loader() -> object:
            return DataLoader(dataset, batch_size=BATCH, shuffle=True)

        rates: dict[str, list[float]] = {"loader": [], "tensors": [], "ours": []}
        if quick != exact:
            rates[f"ours, {quick.precision}"] = []
        for _ in range(options.rounds):
            rates["loader"].append(plain_rate(loader, options.steps))
            rates["tensors"].append(plain_rate(tensors, options.steps))
            rates["ours"].append(ours(exact))
            if quick != exact:
                rates[f"ours, {quick.precision}"].append(ours(quick))
    for name, values in rates.items():
        against = [v / b for v, b in zip(values, rates["loader"], strict=True)]
        print(
            f"{name:<14} {spread(values, 0)} images/s, "
            f"{statistics.median(against):.2f} times the loader, n = {len(values)}"
        )


if __name__ == "__main__":
    main()
