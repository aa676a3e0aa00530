"""The tables from which the settings of teaching are chosen, on one half of writers and alphabets.

python -m benchmarks.fewshot_tune --backbone a.siglum

Heads with their constants, each over all settings with samples; drawn classes beside classes known
by print alone; samples with and without altered copies; ways to tell strangers; temperatures.
Nothing here looks at the half that is reported.
Shapes: Q pictures, K classes, D features, M outsiders.
"""

import argparse
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import rankdata

from benchmarks.fewshot import table
from benchmarks.fewshot_heads import WAYS, Way, copies, linear
from benchmarks.fewshot_measure import counted, loss_at, right
from benchmarks.fewshot_sets import Pictures
from benchmarks.fewshot_strangers import Encounter, area, encounters, passed
from benchmarks.fewshot_tasks import SETS, Setting, Task
from siglum.recogniser import backbone as backbones
from siglum.recogniser.class_vectors import unit
from siglum.recogniser.decide import REFUSED, softmax
from siglum.recogniser.predict import Recogniser

Floats = NDArray[np.floating]

COPIES = 4
FIRM = 20.0  # of scores, where a probability is needed to add up merged classes
TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5), 33))  # of scores times FIRM
MOST = 500  # pictures a setting whose losses are compared
NUMBERS = (100, 1000, 100_000)  # of outsiders
TOLD_BY = (  # ways whose heads meet strangers
    "means, print 2",
    "ridge, length 1, 1",
    "ridge, length 1, 4",
    "ridge and means, 1",
)


@dataclass(frozen=True, eq=False)
class Result:
    """How a way did in a setting."""

    wrong: tuple[float, ...]  # a measure each
    losses: Floats  # at each of TEMPERATURES, nats a picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", type=Path, help="by default the shipped one")
    parser.add_argument("--set", action="append", choices=[*SETS], help="default: all")
    parser.add_argument("--way", action="append", help="names that begin so; default: all")
    parser.add_argument("--copies", nargs="*", default=(), help="ways to try with altered copies")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # pictures that are left out are known: README of the sets
    behind = backbones.given(options.backbone) if options.backbone else backbones.shipped()
    ways = [way for way in WAYS if not options.way or way.name.startswith(tuple(options.way))]
    every = [one for name in options.set or SETS for one in SETS[name](behind, "tune")]
    taught = [one for one in every if any(len(task.taught) for task in one.tasks)]
    zero = [one for one in every if one not in taught]
    # Heads do without size and place, so that rows without them would come twice.
    settings = [one for one in taught if np.isfinite(one.tasks[0].shown.places).any()]
    if settings:
        compare(behind, settings, ways)
    if options.copies:
        chosen = [way for way in WAYS if way.name in options.copies]
        with_copies(behind, settings, chosen)
    if zero:
        temperatures(behind, zero)
    if not options.set:
        tell_strangers(behind, ways)


def result(backbone: Recogniser, setting: Setting, way: Way) -> Result:
    """Try a way on all tasks of a setting."""
    hits: list[list[NDArray[np.bool_]]] = [[] for _ in setting.measures]
    losses = []
    for task in setting.tasks:
        prints = backbones.prints(backbone, task.classes)
        score = way(task.taught.features, task.taught.labels, prints)
        scores = score(task.shown.features)
        probs = softmax(FIRM * scores)
        for number, measure in enumerate(setting.measures):
            hit = right(measure, task, probs)
            hits[number].append(hit[counted(measure, task)])
        few = _spread(len(scores), -(-MOST // len(setting.tasks)))
        losses.append(_losses(FIRM * scores[few], task.shown.labels[few]))
    wrong = tuple(1 - float(np.concatenate(one).mean()) for one in hits)
    return Result(wrong, np.mean(losses, axis=0))


def compare(backbone: Recogniser, settings: Sequence[Setting], ways: Sequence[Way]) -> None:
    """Print what each way reads wrong in each setting, and over all of them."""
    results = [[result(backbone, one, way) for way in ways] for one in settings]
    names = [
        f"{one.set}: {one.name}{', ' * bool(m.name)}{m.name}"
        for one in settings
        for m in one.measures
    ]
    wrong = np.array(
        [[found.wrong[i] for found in row] for row in results for i in range(len(row[0].wrong))]
    )
    first = np.array([[found.wrong[0] for found in row] for row in results])
    losses = np.array([[found.losses for found in row] for row in results]).mean(axis=0)
    best = losses.argmin(axis=1)
    print("what is read wrong, %\n")
    for number, name in enumerate(names, start=1):
        print(f"{number:2}  {name}")
    print(
        "\nover all: the first measure of each setting; loss: at the one temperature best for all"
    )
    head = ["way", "mean", "rank", "to best", "loss", "T", *map(str, range(1, len(names) + 1))]
    ranks = np.mean([rankdata(row) for row in first], axis=0)
    floor = np.maximum(first, 0.002)
    ratio = np.exp(np.log(floor / floor.min(axis=1, keepdims=True)).mean(axis=0))
    lines = []
    for column, way in enumerate(ways):
        numbers = [f"{100 * value:.1f}" for value in wrong[:, column]]
        mean = f"{100 * first[:, column].mean():.2f}"
        loss = f"{losses[column, best[column]]:.3f}"
        warm = f"{TEMPERATURES[best[column]]:.2f}"
        overall = [mean, f"{ranks[column]:.1f}", f"{ratio[column]:.2f}", loss, warm]
        lines.append([way.name, *overall, *numbers])
    table(head, lines)


def with_copies(backbone: Recogniser, settings: Sequence[Setting], ways: Sequence[Way]) -> None:
    """Print what is wrong with samples as they are, and with altered copies of each."""
    made: dict[str, Floats] = {}
    for setting in settings:
        for task in setting.tasks:
            new = [row for row, name in enumerate(task.taught.ids) if name not in made]
            if not new:
                continue
            ink = copies(task.taught.ink[new], COPIES).reshape(-1, *task.taught.ink.shape[1:])
            found = backbones.features(backbone, ink).reshape(len(new), COPIES, -1)
            made |= {str(task.taught.ids[row]): one for row, one in zip(new, found, strict=True)}
    print(
        f"\n{COPIES} altered copies of each sample: % wrong as it is, with their mean, with all\n"
    )
    lines = []
    for setting in settings:
        line = [f"{setting.set}: {setting.name}"]
        for way in ways:
            plain = result(backbone, setting, way).wrong[0]
            tasks = [_averaged(task, made) for task in setting.tasks]
            averaged = result(backbone, replace(setting, tasks=tasks), way).wrong[0]
            tasks = [_extended(task, made) for task in setting.tasks]
            heavier = replace(way, weight=way.weight * (COPIES + 1))
            extended = result(backbone, replace(setting, tasks=tasks), heavier).wrong[0]
            line.append(" ".join(f"{100 * value:5.1f}" for value in (plain, averaged, extended)))
        lines.append(line)
    table(["setting", *(way.name for way in ways)], lines)


def temperatures(backbone: Recogniser, settings: Sequence[Setting]) -> None:
    """Print at which temperature print alone is most honest, and at which one for all settings."""
    print(
        "\nprint alone: loss, nats a picture, at a temperature of each setting's own and at one\n"
    )
    losses = []
    for setting in settings:
        score = linear(backbones.prints(backbone, setting.tasks[0].classes))
        shown = setting.tasks[0].shown
        losses.append(_losses(FIRM * score(shown.features), shown.labels))
    together = int(np.mean(losses, axis=0).argmin())
    table(
        ["setting", "own", "loss", f"at {TEMPERATURES[together]:.2f}"],
        [
            [
                f"{setting.set}: {setting.name}",
                f"{TEMPERATURES[one.argmin()]:.2f}",
                f"{one.min():.3f}",
                f"{one[together]:.3f}",
            ]
            for setting, one in zip(settings, losses, strict=True)
        ],
    )


def by_largest(share: float) -> Callable[[Floats, Floats], Floats]:
    """Return a score: so much of the largest other, less the largest known."""
    return lambda known, other: share * other.max(axis=1) - known.max(axis=1)


STRANGENESS: dict[str, Callable[[Floats, Floats], Floats]] = {  # of known (Q, K), others (Q, M)
    **{
        f"{share:g} x largest other - largest known": by_largest(share)
        for share in (0, 0.25, 0.5, 0.75, 1)
    },
    "all others - all known": lambda known, other: (
        logsumexp(FIRM / 2 * other, axis=1) - logsumexp(FIRM / 2 * known, axis=1)
    ),
    "largest known by the others' mean and spread": lambda known, other: (
        (other.mean(axis=1) - known.max(axis=1)) / other.std(axis=1)
    ),
}


def tell_strangers(backbone: Recogniser, ways: Sequence[Way]) -> None:
    """Print ROC areas and strangers that pass, by score, number of outsiders and way."""
    met = list(encounters(backbone, "tune"))
    print("\nstrangers: ROC area and % that pass where 2 % of true signs are refused\n")
    for number, (name, _) in enumerate(met, start=1):
        print(f"{number:2}  {name}")
    print()
    head = ["way", "others", "score", "area", "pass", *map(str, range(1, len(met) + 1))]
    lines = []
    for way in ways:
        if way.name not in TOLD_BY:
            continue
        for most in NUMBERS:
            found = np.array([_told(backbone, way, most, some) for _, some in met])  # (E, S, 3)
            for number, score in enumerate(STRANGENESS):
                areas, shares, thresholds = found[:, number].T
                each = [
                    f"{100 * a:.1f}/{100 * p:.0f} {t:+.2f}"
                    for a, p, t in zip(areas, shares, thresholds, strict=True)
                ]
                overall = [f"{100 * areas.mean():.2f}", f"{100 * shares.mean():.1f}"]
                lines.append([way.name, f"{most:,}", score, *overall, *each])
    table(head, lines)


def _told(backbone: Recogniser, way: Way, most: int, met: Sequence[Encounter]) -> list[list[float]]:
    """Return ROC area, share that passes and threshold of each score, means of the encounters."""
    found = []
    for one in met:
        task = one.task
        prints = backbones.prints(backbone, task.classes)
        score = way(task.taught.features, task.taught.labels, prints)
        vectors = score(np.eye(prints.shape[1], dtype=np.float32)).T  # of a linear way
        others = backbones.outsiders(backbone, unit(vectors), most)
        told = []
        pairs = [
            (score(shown.features), shown.features @ others.T)
            for shown in (task.shown, one.strangers)
        ]
        for strangeness in STRANGENESS.values():
            true, strange = (strangeness(known, other) for known, other in pairs)
            threshold = float(np.quantile(true, 1 - REFUSED))
            told.append([area(true, strange), passed(true, strange), threshold])
        found.append(told)
    means: list[list[float]] = np.mean(found, axis=0).tolist()
    return means


def _averaged(task: Task, made: dict[str, Floats]) -> Task:
    taught = task.taught
    sums = [made[str(name)].sum(axis=0) for name in taught.ids]
    whole = taught.features + np.array(sums).reshape(taught.features.shape)
    return replace(task, taught=replace(taught, features=unit(whole)))


def _extended(task: Task, made: dict[str, Floats]) -> Task:
    taught = task.taught
    more = [made[str(name)] for name in taught.ids]
    rows = np.repeat(np.arange(len(taught)), COPIES)
    whole: Pictures = taught.at(np.concatenate([np.arange(len(taught)), rows]))
    features = np.concatenate([taught.features, *more]) if more else taught.features
    return replace(task, taught=replace(whole, features=features))


def _losses(logits: Floats, labels: NDArray[np.int64]) -> Floats:
    return np.array([loss_at(logits, labels, one) for one in TEMPERATURES])


def _spread(count: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(most, count)).round().astype(np.int64)


if __name__ == "__main__":
    main()
