"""Test accuracy of the default recipe over seeds: mean, standard deviation, seconds of training.

python -m benchmarks.accuracy mnist5k --seeds 5
python -m benchmarks.accuracy idx:../data/MNIST/raw --seeds 5
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.rows import about, spread
from siglum.config import TrainConfig
from siglum.lab.device import choose_machine
from siglum.lab.recipes.train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source")
    parser.add_argument("--model", default="glyph_net")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    machine = choose_machine()
    print(about(machine))
    accuracies, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            config = TrainConfig(data=options.source, model=options.model, seed=seed)
            result = train(config, Path(folder) / str(seed), machine).result
            assert result is not None and "test" in result, "the source has no test part"
            accuracies.append(100 * result["test"]["hits"] / result["test"]["total"])
            seconds.append(result["seconds"])
            print(f"seed {seed}: {accuracies[-1]:.2f} %, {seconds[-1]:.1f} s", flush=True)
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    print(
        f"{options.model}, {options.source}: "
        f"{statistics.mean(accuracies):.2f} ± {deviation:.2f} %, "
        f"{result['parameters']:,} parameters, {result['epochs']} epochs, {spread(seconds)} s, "
        f"n = {options.seeds}"
    )


if __name__ == "__main__":
    main()
