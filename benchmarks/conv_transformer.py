"""Images a second of training the published `conv_transformer`, plainly and ours, in turn.

    python -m benchmarks.conv_transformer --rounds 3

- plain: the network as its report writes it (nn.Dropout, nn.TransformerEncoder), float32,
  contiguous, pictures from a DataLoader.
- ours: `train_step` as `siglum train --model conv_transformer` calls it, in the precision and
  layout that it chooses by itself, on batches prepared as `fit` prepares them.

Pictures are noise: the time does not depend on what they show. Then the share of the processor's
matrix rate that the step reaches: the operations of its convolutions and matrix products a
second, against a product of two 4096 x 4096 matrices in the same precision, timed in between.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.rows import about, spread
from siglum.config import TrainConfig
from siglum.lab import models
from siglum.lab.augment import AUGMENTATIONS
from siglum.lab.device import PRECISIONS, Machine, choose_machine
from siglum.lab.optimizer import make_optimizer
from siglum.lab.training import normalised, to_unit, train_step

CLASSES, WARM_STEPS, SIDE = 62, 2, 4096


class Plain(nn.Module):
    """Network A as its report's readers would write it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for width in (32, 64, 128, 256, 512):
            conv = nn.Conv2d(channels, width, 3, padding=1)
            layers += [conv, nn.ReLU(), nn.Dropout(0.3), nn.MaxPool2d(2)]
            channels = width
        self.blocks = nn.Sequential(*layers)
        self.columns = nn.Parameter(torch.rand(64, 256))
        self.rows = nn.Parameter(torch.rand(64, 256))
        layer = nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3)
        self.head = nn.Linear(512 * (size // 32) ** 2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to logits."""
        x = self.blocks(x)
        height, width = x.shape[2:]
        across = self.columns[:width].unsqueeze(0).repeat(height, 1, 1)
        down = self.rows[:height].unsqueeze(1).repeat(1, width, 1)
        x = x.flatten(2).transpose(1, 2) + torch.cat([across, down], dim=-1).flatten(0, 1)
        return self.head(self.encoder(x).flatten(1))


def plain(images: Tensor, labels: Tensor, batch_size: int) -> Callable[[], None]:
    """Return a function that takes one plain step."""
    torch.manual_seed(0)
    model = Plain(images.shape[-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4)
    dataset = TensorDataset(images.float() / 255 * 2 - 1, labels)
    loader = iter(DataLoader(dataset, batch_size=batch_size, shuffle=True))

    def step() -> None:
        nonlocal loader
        try:
            batch, target = next(loader)
        except StopIteration:
            loader = iter(DataLoader(dataset, batch_size=batch_size, shuffle=True))
            batch, target = next(loader)
        optimizer.zero_grad()
        F.cross_entropy(model(batch), target).backward()
        optimizer.step()

    return step


def ours(images: Tensor, labels: Tensor, batch_size: int, machine: Machine) -> Callable[[], None]:
    """Return a function that takes one step of ours, augmentation included."""
    torch.manual_seed(0)
    config = TrainConfig(model="conv_transformer", size=images.shape[-1])
    model = machine.place(models.build(config.model, CLASSES, 1, config.size))
    model.train()
    optimizer, preprocess = make_optimizer(model, config), config.preprocess()

    def step() -> None:
        rows = torch.randperm(len(images))[:batch_size]
        batch = to_unit(images[rows].numpy())
        for name in config.augment:
            batch = AUGMENTATIONS[name](batch, torch.default_generator)
        batch = machine.lay(normalised(batch, preprocess))
        train_step(model, optimizer, batch, labels[rows], machine)

    return step


def operations(size: int, batch_size: int) -> float:
    """Return the multiplications and additions of convolutions and matrix products of one step."""
    forward, first, side, channels = 0.0, 0.0, size, 1
    for width in (32, 64, 128, 256, 512):
        cost = 2.0 * side * side * width * channels * 9
        first = first or cost  # the gradient of the pictures is not needed
        forward, side, channels = forward + cost, side // 2, width
    tokens = side * side
    forward += 3 * tokens * 2 * (4 * 512 * 512 + 2 * 512 * 2048)  # projections and feed-forward
    forward += 3 * 2 * 2 * tokens * tokens * 512  # attention
    forward += 2 * tokens * 512 * CLASSES
    return batch_size * (3 * forward - first)


def seconds(step: Callable[[], None], steps: int) -> float:
    """Return the mean time of a step."""
    for _ in range(WARM_STEPS):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    machine = choose_machine(threads=options.threads)
    print(about(machine))
    count, size, batch = 4 * options.batch_size, options.size, options.batch_size
    images = torch.randint(0, 256, (count, 1, size, size), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (count,))
    dtype = torch.bfloat16 if PRECISIONS[machine.precision] else torch.float32
    matrix = torch.randn(SIDE, SIDE, dtype=dtype)

    def product() -> None:
        matrix @ matrix

    steps = {"plain": plain(images, labels, batch), "ours": ours(images, labels, batch, machine)}
    times: dict[str, list[float]] = {"plain": [], "ours": [], "matrix": []}
    for _ in range(options.rounds):
        times["plain"].append(seconds(steps["plain"], options.steps))
        times["matrix"].append(seconds(product, 5))
        times["ours"].append(seconds(steps["ours"], 3 * options.steps))
    ratios = [p / o for p, o in zip(times["plain"], times["ours"], strict=True)]
    rates = [operations(size, batch) / o / 1e9 for o in times["ours"]]
    peaks = [2 * SIDE**3 / m / 1e9 for m in times["matrix"]]
    shares = [100 * r / p for r, p in zip(rates, peaks, strict=True)]
    print(f"{size} x {size}, batches of {batch}, n = {options.rounds}")
    for name in ("plain", "ours"):
        print(f"{name:<7} {spread([batch / t for t in times[name]])} images/s")
    print(f"ratio   {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"step    {spread(rates, 0)} GFLOP/s; matrix product {spread(peaks, 0)} GFLOP/s")
    print(f"share   {spread(shares, 0)} %")


if __name__ == "__main__":
    main()
