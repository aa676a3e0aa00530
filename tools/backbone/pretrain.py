"""Train a network on the characters of fonts, on synthetic signs and on strokes."""

from pathlib import Path

from siglum.config import TrainConfig, build
from siglum.errors import RunError
from siglum.files import read_json, write_atomic
from siglum.images.cache import Progress, no_progress
from siglum.lab import train_run
from siglum.lab.device import Device
from siglum.lab.run_folder import CONFIG, Run
from siglum.lab.training_loop import Epoch
from tools.backbone.data import Recipe, load_data

RECIPE = "backbone.json"  # in the run's folder
NETWORK = Path(__file__).with_name("sign_net.py")
HELD_OUT = "held-out faces"


def pretrain(recipe: Recipe, path: Path, device: Device, progress: Progress = no_progress) -> Run:
    """Train at `path`, a new folder, or continue an unfinished pretraining there."""
    if (path / RECIPE).exists() and build(Recipe, read_json(path / RECIPE)) != recipe:
        raise RunError(f"{path} has another recipe. Choose another name with -o.")
    data, merged = load_data(recipe, progress)
    if (path / CONFIG).exists():
        write_atomic(path / RECIPE, recipe.model_dump_json(indent=1))  # killed before it was there
        return train_run.resume(Run(path), device, _report, progress, data)
    config = TrainConfig(
        data=data.train.source,
        model=f"{NETWORK}:SignNet",
        model_options=recipe.model_options,
        rename=merged,
        size=recipe.size,
        resize="glyph",
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        weight_decay=1e-4,
        augment=(),
        seed=recipe.seed,
        init=recipe.init,
    )

    def watch(record: object) -> None:
        if not (path / RECIPE).exists():
            write_atomic(path / RECIPE, recipe.model_dump_json(indent=1))
        _report(record)

    return train_run.train(config, path, device, watch, progress, data)


def _report(record: object) -> None:
    if isinstance(record, Epoch):
        held_out = "" if record.val_accuracy is None else f", {HELD_OUT} {record.val_accuracy:.3f}"
        print(f"epoch {record.index}: loss {record.train_loss:.3f}{held_out}", flush=True)
