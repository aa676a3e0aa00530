"""Does the encoder relate the upper and the lower curve of a 3?

python -m benchmarks.attention_of_3 runs/a --sign digit_3
python -m benchmarks.attention_of_3 runs/a --data idx:MNIST/raw --most 300

How the curves are found and what they are laid beside: siglum/lab/examine/curves.py. Pictures are
those held out of the run's training, or the test part of another source. Networks with random
weights, of the same architecture, are measured on the same pictures.
"""

import argparse
from math import isqrt
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import about
from siglum.images import sources
from siglum.images.imageset import ImageSet
from siglum.lab import models
from siglum.lab.device import choose_machine
from siglum.lab.examine.attention import attention
from siglum.lab.examine.curves import Ratio, curves, flows, ratio
from siglum.lab.models.conv_transformer import HALVINGS
from siglum.lab.recipes.train import load_data
from siglum.lab.runs import Run
from siglum.lab.training import normalised, to_unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", help="another source; by default what the run held out")
    parser.add_argument("--sign", default="3", help="the class")
    parser.add_argument("--most", type=int, default=500, help="pictures, at most")
    parser.add_argument("--untrained", type=int, default=5, help="networks with random weights")
    options = parser.parse_args()
    machine = choose_machine("cpu", "float32")
    print(about(machine))
    run = Run(options.run)
    preprocess = run.preprocess
    pictures = _pictures(run, options.data, options.sign, options.most)
    unit = to_unit(pictures.images)
    seen = normalised(unit, preprocess)
    model = run.model()
    side = isqrt(attention(model, seen[:1]).shape[-1])
    found = [curves(picture, side, 2**HALVINGS) for picture in unit[:, 0].numpy()]
    kept = [index for index, one in enumerate(found) if one is not None]
    cells = [one for one in found if one is not None]
    assert cells, "no picture has two curves"
    print(
        f"{len(kept)} of {len(found)} pictures of {options.sign!r} ({pictures.source}) have both "
        f"curves on {side} x {side} cells: {np.mean([c.upper.sum() for c in cells]):.1f} cells "
        f"above, {np.mean([c.lower.sum() for c in cells]):.1f} below, of "
        f"{np.mean([c.ink.sum() for c in cells]):.1f} with ink, on average"
    )
    trained = flows(model, seen[kept], cells)
    fresh = []
    for seed in range(options.untrained):
        torch.manual_seed(seed)
        size, planes = preprocess.size, preprocess.planes
        chosen = run.config.model_options
        plain = models.build(run.config.model, len(run.classes), planes, size, chosen)
        fresh.append(flows(plain.eval(), seen[kept], cells))
    _show(
        "curve to curve, times an even share",
        ratio(trained.between),
        [ratio(flow.between) for flow in fresh],
    )
    _show(
        "curve to curve, times other ink as far apart",
        ratio(trained.matched, trained.beside),
        [ratio(flow.matched, flow.beside) for flow in fresh],
    )


def _pictures(run: Run, data: str | None, sign: str, most: int) -> ImageSet:
    if data is None:
        own = load_data(run.config, run.classes)
        held = own.test or own.val
        assert held is not None, "the run held nothing out; give --data"
    else:
        parts = sources.parts(data)
        held = sources.load(data, "test" if "test" in parts else parts[0], run.preprocess)
    chosen = held.select_classes([sign])
    return chosen.subset(np.linspace(0, len(chosen) - 1, min(most, len(chosen))).astype(int))


def _show(question: str, answer: Ratio, untrained: list[Ratio]) -> None:
    """Print a line a layer: each head's ratio with its interval, beside the untrained heads'.

    Random weights relate cells too, each head in its own way. So a head shows something learned
    only where its whole interval lies above (+) or below (-) every untrained head of its layer.
    """
    print(f"\n{question} (95 % intervals for all heads together)")
    above = below = 0
    for layer in range(len(answer.value)):
        values = np.concatenate([one.value[layer] for one in untrained])
        heads = []
        for head, value in enumerate(answer.value[layer]):
            low, high = answer.low[layer, head], answer.high[layer, head]
            mark = "+" if low > values.max() else "-" if high < values.min() else " "
            above, below = above + (mark == "+"), below + (mark == "-")
            heads.append(f"{value:.2f} ({low:.2f} to {high:.2f}){mark}")
        print(f"layer {layer + 1}  " + "  ".join(heads))
        print(
            f"         untrained, {len(untrained)} networks: {np.median(values):.2f} "
            f"({values.min():.2f} to {values.max():.2f})"
        )
    more, fewer = int((answer.low > 1).sum()), int((answer.high < 1).sum())
    print(
        f"of {answer.value.size} heads {more} lie above 1 and {fewer} below; {above} above every "
        f"untrained head of their layer and {below} below"
    )


if __name__ == "__main__":
    main()
