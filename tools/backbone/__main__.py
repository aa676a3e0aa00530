"""Make a backbone from fonts: install fonts, train on them, export the result."""

import argparse
import sys
from pathlib import Path

from siglum.errors import SiglumError
from tools.backbone import provenance


def main() -> int:
    """Run one of the three steps."""
    parser = argparse.ArgumentParser(prog="python -m tools.backbone", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fonts = commands.add_parser("install", help="fetch the fonts that packages.csv lists")
    fonts.add_argument("folder", type=Path)
    train = commands.add_parser("train", help="train on fonts, or continue a stopped training")
    train.add_argument("fonts", help="folder of fonts, with a folder inside for each kind")
    train.add_argument("-o", "--out", type=Path, required=True, help="folder of the run")
    train.add_argument("--characters", default="", help="such as greek,0-9; all by default")
    train.add_argument("--kind", action="append", help="how often a kind counts; hand=3 by default")
    train.add_argument("--model-option", action="append", help="such as width=4")
    for name, value in {"epochs": 72, "epoch-size": 100_000, "signs": 4000, "hands": 30}.items():
        train.add_argument(f"--{name}", type=int, default=value)
    for name, value in {"size": 40, "batch-size": 256, "seed": 0}.items():
        train.add_argument(f"--{name}", type=int, default=value)
    for name, share in {"balance": 0.5, "val": 0.03, "lr": 0.2}.items():
        train.add_argument(f"--{name}", type=float, default=share)
    export = commands.add_parser("export", help="write a run as a backbone")
    export.add_argument("run", type=Path)
    export.add_argument("-o", "--out", type=Path, required=True, help="a new .siglum file")
    export.add_argument("--licence", default="")
    for command in (train, export):
        command.add_argument("--device", default="auto")
        command.add_argument("--threads", type=int, default=0)
    flags = vars(parser.parse_args())
    command = flags.pop("command")
    if command == "install":
        missing = provenance.install(flags["folder"])
        print(*missing, sep="\n", file=sys.stderr)
        return 1 if missing else 0
    from siglum.lab.device import choose_device  # late: torch takes seconds
    from siglum.lab.runs import Run
    from tools.backbone.pretrain import Recipe, parse_weights, pretrain
    from tools.backbone.pretrain import export as write

    device = choose_device(flags.pop("device"), "auto", flags.pop("threads"))
    out = flags.pop("out")
    if command == "export":
        bundle = write(Run(flags["run"]), out, device, flags["licence"], _progress)
        for name, rate in bundle.card.measured.items():
            print(f"{name}: {rate.hits:,} of {rate.total:,}")
        return 0
    options = parse_weights(flags.pop("model_option") or [])
    kinds = flags.pop("kind")
    pretrain(
        Recipe(
            **flags,
            kind_weights=parse_weights(kinds) if kinds else {"hand": 3.0},
            model_options={name: int(value) for name, value in options.items()},
        ),
        out,
        device,
        _progress,
    )
    return 0


def _progress(step: str, done: int, total: int) -> None:
    if done == total or done % 4096 == 0:
        print(f"{step} {done:,} of {total:,}" if total else step, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SiglumError as error:
        sys.exit(f"error: {error}")
