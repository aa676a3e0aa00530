"""How fast Siglum is, against a plain implementation measured in turn on the same machine.

    python -m benchmarks.speed light             predict as a process, teach, add, memory
    python -m benchmarks.speed ink               the ink normaliser, images per second
    python -m benchmarks.speed mnist_net         training, against torchvision and a DataLoader
    python -m benchmarks.speed conv_transformer  training, against the network written plainly
    python -m benchmarks.speed mnist_to_99       MNIST to 99.0 %, against torch's own example
    python -m benchmarks.speed memory            peak memory of a folder of 200,000 images

Run it on a quiet machine, `light` and `ink` with OMP_NUM_THREADS=1. MNIST's files are expected in
SIGLUM_DATA/MNIST/raw. Images are drawn by code; ratios are medians over --rounds pairs.
"""

import argparse
import io
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

BARE = """
import os, sys, zipfile
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime
from PIL import Image
raw = zipfile.ZipFile(sys.argv[1]).read("model.onnx")
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(raw, options)
(tensor,) = session.get_inputs()
Image.open(sys.argv[2]).load()
session.run(None, {tensor.name: numpy.zeros((1, *tensor.shape[1:]), numpy.float32)})
"""
MNIST = "idx:MNIST/raw"


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median(work: Callable[[], object], rounds: int) -> float:
    """Return the median seconds of a call, after one that is not counted."""
    work()
    return statistics.median(timed(work) for _ in range(rounds))


def spread(values: list[float], digits: int = 2) -> str:
    """Format the median and the range of some values."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def in_turn(rounds: int, **ways: Callable[[], float]) -> dict[str, list[float]]:
    """Measure several ways in turn, so that a change of the machine's speed meets them all."""
    values: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            values[name].append(measure())
    return values


def scribble(label: int, sample: int) -> Image.Image:
    """Draw a class's shape with a shaking hand: 64 x 64, dark on light."""
    points = np.random.RandomState(label).uniform(8, 56, (5, 2))
    points += np.random.RandomState(1000 + 10_000 * label + sample).normal(0, 2, points.shape)
    image = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(image).line([(x, y) for x, y in points.tolist()], fill=20, width=3)
    return image


def light(rounds: int) -> None:
    """Teach 100 classes of 10 drawings, add one, predict as a process."""
    import siglum

    samples = {
        f"sign {label}": [np.asarray(scribble(label, n)) for n in range(10)] for label in range(100)
    }
    recogniser = siglum.teach(samples=samples)
    seconds = median(lambda: siglum.teach(samples=samples), 3)
    print(f"teach 100 classes of 10: {seconds:.2f} s")
    extra = iter(range(10, 10_000))
    seconds = median(lambda: recogniser.add("sign 3", scribble(3, next(extra))), rounds)
    print(f"add one drawing to 1,000: {1000 * seconds:.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        bundle, files = str(Path(folder) / "signs.siglum"), []
        recogniser.save(bundle)
        for label in range(100):
            for n in range(10):
                files.append(str(Path(folder) / f"{label}-{n}.png"))
                scribble(label, n).save(files[-1])

        def process(*command: str) -> float:
            return timed(lambda: subprocess.run(command, check=True, capture_output=True))

        predict = (sys.executable, "-m", "siglum", "predict", bundle)
        values = in_turn(
            rounds,
            siglum=lambda: process(*predict, files[0]),
            find=lambda: process(sys.executable, "-m", "siglum", "find", files[0]),
            bare=lambda: process(sys.executable, "-c", BARE, bundle, files[0]),
            help=lambda: process(sys.executable, "-m", "siglum", "--help"),
            imports=lambda: process(sys.executable, "-c", "import siglum"),
            python=lambda: process(sys.executable, "-c", ""),
        )
        ratios = [a / b for a, b in zip(values["siglum"], values["bare"], strict=True)]
        for name, seconds_each in values.items():
            print(f"{name:<8} {spread(seconds_each)} s as a process")
        print(f"predict against a bare onnxruntime process: {spread(ratios)} times")
        many = statistics.median(process(*predict, *files, "--csv") for _ in range(3))
        each = (many - statistics.median(values["siglum"])) / (len(files) - 1)
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"predict 1,000 images: {1000 * each:.2f} ms each, {memory:.0f} MB")


def ink(rounds: int) -> None:
    """Normalise images on even paper and in uneven light, and a photo of 12 megapixels."""
    from siglum.images.decode import decode
    from siglum.images.ink import WORKING, normalise

    points = [(0.3, 0.2), (0.6, 0.25), (0.4, 0.5), (0.65, 0.7), (0.3, 0.8)]

    def even(height: int, width: int) -> Any:
        image = Image.new("L", (width, height))
        line = [(width * x, height * y) for x, y in points]
        ImageDraw.Draw(image).line(line, fill=255, width=max(1, min(height, width) // 30))
        return np.asarray(image)

    def uneven(height: int, width: int, channels: int) -> Any:
        light = np.linspace(230, 140, width) * (1 - 0.7 * (even(height, width) / 255))
        noise = np.random.RandomState(0).normal(0, 3, (height, width))
        planes = [np.clip(light * shade + noise, 0, 255) for shade in (1, 0.97, 0.9)[:channels]]
        return np.stack(planes).astype(np.uint8)

    images = {"28 x 28, even paper": even(28, 28), "256 x 256, even paper": even(256, 256)}
    for kind, channels in (("", 1), (", colour", 3)):
        images[f"256 x 256, uneven light{kind}"] = uneven(256, 256, channels)
    for name, image in images.items():
        seconds = median(lambda image=image: normalise(image, 28), 10 * rounds)  # type: ignore[misc]
        print(f"{name}: {1 / seconds:,.0f} images per second")
    photo, file = uneven(3000, 4000, 3), io.BytesIO()
    Image.fromarray(np.ascontiguousarray(photo.transpose(1, 2, 0))).save(file, "JPEG", quality=90)
    raw = file.getvalue()
    seconds = median(lambda: normalise(decode(raw, None, 2 * WORKING), 28), 5)
    print(f"12 megapixels from a JPEG file: {seconds:.3f} s")


def mnist_net(rounds: int) -> None:
    """Train the published network in float32 on batches of 64: images per second."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from siglum import lab

    batch, warm, steps = 64, 20, 300

    def plain() -> float:
        torch.manual_seed(0)
        loader = DataLoader(dataset, batch_size=batch, shuffle=True)
        model = nn.Sequential(
            nn.Conv2d(1, 10, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(10, 20, 5, padding=2),
            nn.Dropout(0.5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(980, 50),
            nn.ReLU(),
            nn.Linear(50, 10),
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
        for step, (images, labels) in enumerate(loader):
            if step == warm:
                start = time.perf_counter()
            if step == warm + steps:
                break
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return batch * steps / (time.perf_counter() - start)

    def ours(precision: str) -> float:
        with tempfile.TemporaryDirectory() as path:
            run = lab.train(MNIST, f"{path}/run", model="mnist_net", epochs=1, precision=precision)
            return run.history[-1].examples / run.history[-1].seconds

    with tempfile.TemporaryDirectory() as folder:
        dataset = torchvision_mnist(folder, datasets, transforms)
        values = in_turn(
            rounds, plain=plain, float32=lambda: ours("float32"), auto=lambda: ours("auto")
        )
    for name, rates in values.items():
        ratios = [a / b for a, b in zip(rates, values["plain"], strict=True)]
        print(f"{name:<8} {spread(rates, 0)} images per second, {spread(ratios)} times plain")


def torchvision_mnist(folder: str, datasets: Any, transforms: Any, train: bool = True) -> Any:
    """Return MNIST as torch's example loads it, from a copy of our files."""
    raw = Path(folder) / "MNIST" / "raw"
    if not raw.exists():
        shutil.copytree(Path(os.environ["SIGLUM_DATA"]) / "MNIST" / "raw", raw)
    steps = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    return datasets.MNIST(folder, train, transforms.Compose(steps), download=True)


def conv_transformer(rounds: int) -> None:
    """Train network A of report 1 at 200 x 200 in batches of 64, and the processor's use."""
    import torch
    from torch import Tensor, nn

    from siglum.config import TrainConfig
    from siglum.examine import layers
    from siglum.lab import models
    from siglum.lab.augment import AUGMENTATIONS
    from siglum.lab.device import choose_device
    from siglum.lab.training_loop import build_optimizer, normalise_batch, to_unit, train_step

    size, batch, classes = 200, 64, 62

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = []
            for before, after in zip((1, 32, 64, 128, 256), (32, 64, 128, 256, 512), strict=True):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
                layers += [nn.Dropout(0.3), nn.MaxPool2d(2)]
            self.blocks = nn.Sequential(*layers)
            self.position = nn.Parameter(torch.rand((size // 32) ** 2, 512))
            layer = nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.1, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 3)
            self.head = nn.Linear(512 * (size // 32) ** 2, classes)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.blocks(x).flatten(2).transpose(1, 2) + self.position
            logits: Tensor = self.head(self.encoder(tokens).flatten(1))
            return logits

    images = torch.randint(0, 256, (4 * batch, 1, size, size), dtype=torch.uint8)
    labels = torch.randint(0, classes, (len(images),))
    torch.manual_seed(0)
    plain = Plain()
    adam = torch.optim.Adam(plain.parameters(), lr=1e-4, weight_decay=1e-4)
    device, config = choose_device(), TrainConfig(model="conv_transformer", size=size)
    model = device.to(models.build(config.model, classes, 1, size))
    multiply_adds = sum(layer.multiply_adds for layer in layers(model, (1, size, size)))
    square = torch.rand(2048, 2048, dtype=getattr(torch, device.precision))
    model.train()
    optimizer, preprocess = build_optimizer(model, config), config.preprocess()

    def plain_step() -> None:
        rows = torch.randperm(len(images))[:batch]
        adam.zero_grad()
        logits = plain(images[rows].float() / 255 * 2 - 1)
        nn.functional.cross_entropy(logits, labels[rows]).backward()  # type: ignore[no-untyped-call]
        adam.step()

    def our_steps() -> None:
        for _ in range(3):
            rows = torch.randperm(len(images))[:batch]
            unit = to_unit(images[rows].numpy())
            for name in config.augment:
                unit = AUGMENTATIONS[name](unit, torch.default_generator)
            inputs = device.to_batch(normalise_batch(unit, preprocess))
            train_step(model, optimizer, inputs, labels[rows], device)

    plain_step()
    our_steps()
    values = in_turn(
        rounds,
        plain=lambda: batch / timed(plain_step),
        ours=lambda: 3 * batch / timed(our_steps),
        matrix=lambda: 2 * 2048**3 / median(lambda: square @ square, 9),
    )
    ratios = [a / b for a, b in zip(values["ours"], values["plain"], strict=True)]
    # Two operations per multiply-add, and the backward pass computes twice as much as the forward.
    rates = [6 * multiply_adds * images_per_second for images_per_second in values["ours"]]
    shares = [100 * a / b for a, b in zip(rates, values["matrix"], strict=True)]
    for name in ("plain", "ours"):
        print(f"{name:<8} {spread(values[name], 1)} images per second")
    print(f"ratio    {spread(ratios)}")
    print(f"ours     {spread([rate / 1e9 for rate in rates], 0)} GFLOPS in {device.precision}")
    print(f"share of a matrix product's rate: {spread(shares, 0)} %")


def mnist_to_99(rounds: int) -> None:
    """Train until 99.0 % on MNIST's test images; testing is timed for ours only."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from siglum import lab

    def ours(seed: int) -> float:
        """One-cycle trainings of 1, 2, ... epochs, all of them counted."""
        spent, accuracy, epochs = 0.0, 0.0, 0
        while accuracy < 0.99 and epochs < 14:
            epochs, start = epochs + 1, time.perf_counter()
            run = lab.train(MNIST, f"{folder}/ours-{seed}-{epochs}", epochs=epochs, seed=seed)
            spent += time.perf_counter() - start
            accuracy = run.evaluate("test").accuracy.value
        print(f"ours     seed {seed}: {100 * accuracy:.2f} %, {epochs} epochs, {spent:.1f} s")
        return spent

    def example(seed: int) -> float:
        torch.manual_seed(seed)
        train = DataLoader(torchvision_mnist(folder, datasets, transforms), 64, shuffle=True)
        test = DataLoader(torchvision_mnist(folder, datasets, transforms, False), 1000)
        model = nn.Sequential(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(9216, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 10),
        )
        optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
        spent, hits, epochs = 0.0, 0, 0
        while hits < 9900 and epochs < 14:
            epochs, start = epochs + 1, time.perf_counter()
            model.train()
            for images, labels in train:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            schedule.step()
            spent += time.perf_counter() - start
            model.eval()
            with torch.no_grad():
                hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in test)
        print(f"example  seed {seed}: {hits / 100:.2f} %, {epochs} epochs, {spent:.1f} s")
        return spent

    with tempfile.TemporaryDirectory() as folder:
        ratios = [1 / (ours(seed) / example(seed)) for seed in range(rounds)]
    print(f"ratio    {spread(ratios, 1)}")


def memory(rounds: int) -> None:
    """Pack and train a folder of 200,000 images of 28 x 28 as processes; peak memory."""
    rows, columns = np.mgrid[:28, :28]
    random = np.random.RandomState(0)
    with tempfile.TemporaryDirectory() as folder:
        for label in range(10):
            (Path(folder) / "set" / str(label)).mkdir(parents=True)
            angle = np.pi * label / 10
            bar = np.abs((rows - 14) * np.cos(angle) + (columns - 14) * np.sin(angle)) < 2
            for number in range(20_000):
                noise = random.randint(0, 64, size=(28, 28))
                image = Image.fromarray(np.where(bar, 255 - noise, noise).astype(np.uint8))
                image.save(Path(folder) / "set" / str(label) / f"{number:06}.png")
        for command in (["data"], ["train", "-o", f"{folder}/run", "--epochs", "1"]):
            environment = {**os.environ, "SIGLUM_CACHE": f"{folder}/cache-{command[0]}"}
            words = [sys.executable, "-m", "siglum", command[0], f"folder:{folder}/set"]
            process = subprocess.Popen([*words, *command[1:]], env=environment, stdout=-3)
            _, status, usage = os.wait4(process.pid, 0)
            assert status == 0, status
            print(f"siglum {command[0]}: {usage.ru_maxrss * 1024 / 1e6:.0f} MB")


BENCHMARKS = {
    "light": (light, 9),
    "ink": (ink, 10),
    "mnist_net": (mnist_net, 3),
    "conv_transformer": (conv_transformer, 3),
    "mnist_to_99": (mnist_to_99, 2),
    "memory": (memory, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    run, rounds = BENCHMARKS[options.benchmark]
    run(options.rounds or rounds)


if __name__ == "__main__":
    main()
