"""What has come of an arm: figures over its seeds, and its way to them.

Shapes: S seeds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from siglum import stats
from siglum.lab.arms import Arm
from siglum.lab.paired import over_splits, t_interval
from siglum.lab.pooled import Finished, Pooled

N = TypeVar("N", int, float)

LADDER = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
ALL = (1.0,)  # of the training pictures, where nothing was held out to validate
RUNGS = 4  # levels at most, the highest
BAND = 3  # seeds, from which on a curve has a band: of two it would be 12.7 deviations wide


@dataclass(frozen=True)
class Figure:
    """A measured figure over the seeds of an arm, and how sure its mean is."""

    values: tuple[float, ...]  # one a seed
    mean: float
    deviation: float | None  # over seeds; None for one
    low: float | None  # of the 95 % interval
    high: float | None
    interval: str  # what it is: "Student t, 3 seeds", "Wilson, 1,000 pictures" or "none"


@dataclass(frozen=True)
class Record:
    """The end of an epoch."""

    epoch: int
    examples: int  # pictures shown since the beginning
    seconds: float  # of training since the beginning
    accuracy: float  # on the pictures that are watched
    loss: float  # nats


@dataclass(frozen=True)
class Curve:
    """The way of one seed, on its validation pictures; on those it learns where no run has any."""

    seed: int
    examples_before: int | None  # pictures shown in the pretraining; None where nobody says
    seconds_before: float | None
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Middle:
    """The mean over all seeds at the end of an epoch, with its 95 % interval by Student's t."""

    epoch: int
    examples: float
    seconds: float
    accuracy: float
    accuracy_band: tuple[float, float] | None  # None for less than BAND seeds
    loss: float
    loss_band: tuple[float, float] | None


@dataclass(frozen=True)
class Reached:
    """When an arm's watched accuracy was first at or above a level: a seed each, None: never.

    It is looked at after every epoch and nothing is read in between.
    """

    level: float
    epochs: tuple[int | None, ...]
    examples: tuple[int | None, ...]
    seconds: tuple[float | None, ...]
    examples_with_pretraining: tuple[int | None, ...]
    seconds_with_pretraining: tuple[float | None, ...]

    @property
    def never(self) -> int:
        """How many seeds did not get there."""
        return self.epochs.count(None)


@dataclass(frozen=True)
class Outcome:
    """An arm, measured; its figures are None where no run has them."""

    name: str
    seeds: tuple[int, ...]
    runs: tuple[str, ...]  # folders
    configs: tuple[dict[str, Any], ...]
    parameters: int | None
    train: Figure | None  # accuracy in the last epoch, on changed pictures, under dropout
    val: Figure | None
    test: Figure | None
    gap: Figure | None  # train minus validation accuracy in the last epoch
    loss: Figure | None  # negative log-likelihood on the part compared, nats a picture
    ece: Figure | None  # expected calibration error on it
    seconds: Figure | None  # of training
    seconds_with_pretraining: Figure | None
    examples: Figure | None  # pictures shown
    examples_with_pretraining: Figure | None
    area: Figure | None  # mean accuracy on what is watched over a span of pictures shown
    pretrained: bool
    curves: tuple[Curve, ...]
    middle: tuple[Middle, ...]
    published: dict[str, float]
    failed: tuple[tuple[int, str], ...]
    missing: int

    def figure(self, part: str) -> Figure:
        """Return the accuracy on "train", "val" or "test", which must be there."""
        found = {"train": self.train, "val": self.val, "test": self.test}[part]
        assert found is not None, (self.name, part)
        return found


def figure(values: Sequence[float], pictures: int | None = None, share: bool = False) -> Figure:
    """Return the mean of at least one value with its interval.

    Args:
        pictures: that a single value is a share of; without, it has no interval.
        share: whether values lie in [0, 1], and the interval too.
    """
    mean, count = float(np.mean(values)), len(values)
    if count > 1:
        low, high = t_interval(values)
        if share:
            low, high = max(low, 0.0), min(high, 1.0)
        deviation = float(np.std(values, ddof=1))
        return Figure(tuple(values), mean, deviation, low, high, f"Student t, {count} seeds")
    if pictures:
        rate = stats.wilson(round(mean * pictures), pictures)
        said = f"Wilson, {pictures:,} pictures"
        return Figure(tuple(values), mean, None, rate.low, rate.high, said)
    return Figure(tuple(values), mean, None, None, None, "none")


def watched_of(arms: Sequence[Arm]) -> str:
    """Return what accuracy is watched by epochs: "val", or "train" where no run validated."""
    validated = any(e.val_accuracy is not None for arm in arms for r in arm.runs for e in r.epochs)
    return "val" if validated else "train"


def figure_of_folds(runs: Sequence[Pooled]) -> Figure:
    """Return the accuracy over the repeats of a cross-validation, with an interval that holds.

    It is the wider, at either end, of Nadeau and Bengio's over the folds, which knows that their
    trainings share pictures, and Wilson's of the pictures, which knows how few they are.
    """
    splits = [fold.result["test"] for run in runs for fold in run.runs if fold.result]
    low, high, _ = over_splits([s["hits"] / s["total"] for s in splits], runs[0].ratio)
    values = [run.result["test"]["hits"] / run.result["test"]["total"] for run in runs]
    mean, pictures = float(np.mean(values)), int(runs[0].result["test"]["total"])
    rate = stats.wilson(round(mean * pictures), pictures)
    return Figure(
        tuple(values),
        mean,
        float(np.std(values, ddof=1)) if len(values) > 1 else None,
        max(min(low, rate.low), 0.0),
        min(max(high, rate.high), 1.0),
        f"Nadeau and Bengio, {len(splits)} folds; at least Wilson, {pictures:,} pictures",
    )


def outcome_of(
    arms: Sequence[Arm], part: str, watched: str = "val"
) -> tuple[tuple[Outcome, ...], tuple[int, int] | None]:
    """Measure arms, and return with them the span of pictures shown that all curves cover.

    Args:
        part: "test" or "val", which every run has.
        watched: "val" or "train": what the curves are of.
    """
    curves = [tuple(_curve(run, watched) for run in arm.runs) for arm in arms]
    span = _span([curve for several in curves for curve in several])
    measured = tuple(_outcome(a, c, part, span) for a, c in zip(arms, curves, strict=True))
    return measured, span


def levels_of(outcomes: Sequence[Outcome], watched: str = "val") -> tuple[float, ...]:
    """Return the accuracies that some run reaches, and not every run at its first record."""
    curves = [c.records for outcome in outcomes for c in outcome.curves if c.records]
    if not curves:
        return ()
    best = max(record.accuracy for records in curves for record in records)
    slowest = min(records[0].accuracy for records in curves)
    if watched == "val":
        return tuple(level for level in LADDER if slowest < level <= best)[-RUNGS:]
    kept: dict[tuple[int | None, ...], float] = {}  # of few pictures many levels are one
    for level in (level for level in LADDER + ALL if slowest < level <= best):
        kept[tuple(epoch for o in outcomes for epoch in reached(o, level).epochs)] = level
    return tuple(sorted(kept.values()))[-RUNGS:]


def reached(outcome: Outcome, level: float) -> Reached:
    """Tell when each seed was first at or above `level`."""
    first = [
        (next((r for r in curve.records if r.accuracy >= level), None), curve)
        for curve in outcome.curves
    ]
    return Reached(
        level,
        epochs=tuple(r.epoch if r else None for r, _ in first),
        examples=tuple(r.examples if r else None for r, _ in first),
        seconds=tuple(r.seconds if r else None for r, _ in first),
        examples_with_pretraining=tuple(
            _sum(r.examples, c.examples_before) if r else None for r, c in first
        ),
        seconds_with_pretraining=tuple(
            _sum(r.seconds, c.seconds_before) if r else None for r, c in first
        ),
    )


def _outcome(
    arm: Arm, curves: tuple[Curve, ...], part: str, span: tuple[int, int] | None
) -> Outcome:
    results = [run.result or {} for run in arm.runs]
    last = [run.epochs[-1] for run in arm.runs]

    def over(value: Callable[[int], float | None], share: bool = False) -> Figure | None:
        values = [value(i) for i in range(len(arm.runs))]
        known = [v for v in values if v is not None]
        return figure(known, share=share) if known and len(known) == len(values) else None

    def measured(name: str) -> Figure | None:
        if not results or not all(result.get(name) for result in results):
            return None
        shares = [result[name]["hits"] / result[name]["total"] for result in results]
        pooled = [run for run in arm.runs if isinstance(run, Pooled)]
        if pooled and name == "test":
            return figure_of_folds(pooled)
        return figure(shares, results[0][name]["total"], share=True)

    return Outcome(
        name=arm.name,
        seeds=tuple(run.config.seed for run in arm.runs),
        runs=tuple(str(run.path) for run in arm.runs),
        configs=tuple(run.config.model_dump() for run in arm.runs),
        parameters=results[0]["parameters"] if results else None,
        train=over(lambda i: last[i].train_accuracy, share=True),
        val=measured("val"),
        test=measured("test"),
        gap=over(lambda i: _gap(last[i].train_accuracy, last[i].val_accuracy)),
        loss=over(lambda i: float(results[i][part]["loss"])),
        ece=over(lambda i: _ece(arm.runs[i], part), share=True),
        seconds=over(lambda i: float(results[i]["seconds"])),
        seconds_with_pretraining=over(
            lambda i: _sum(float(results[i]["seconds"]), curves[i].seconds_before)
        ),
        examples=over(lambda i: last[i].examples),
        examples_with_pretraining=over(lambda i: _sum(last[i].examples, curves[i].examples_before)),
        area=over(lambda i: _area(curves[i], span), share=True),
        # Of weights from a file it is not known what they took: nothing is counted then.
        pretrained=any((run.env.get("init") or {}).get("seconds") is not None for run in arm.runs),
        curves=curves,
        middle=_middle(curves),
        published=dict(arm.published),
        failed=arm.failed,
        missing=arm.missing,
    )


def _gap(train: float, val: float | None) -> float | None:
    return None if val is None else train - val


def _ece(run: Finished, part: str) -> float:
    predictions = run.predictions()
    groups = stats.reliability(predictions[f"{part}_log_probs"], predictions[f"{part}_labels"])
    return stats.expected_calibration_error(groups)


def _curve(run: Finished, watched: str) -> Curve:
    before = run.env.get("init") or {"examples": 0, "seconds": 0.0}
    found = [
        (e, e.train_accuracy, e.train_loss)
        if watched == "train"
        else (e, e.val_accuracy, e.val_loss)
        for e in run.epochs
    ]
    records = tuple(
        Record(e.index, e.examples, e.seconds, accuracy, loss)
        for e, accuracy, loss in found
        if accuracy is not None and loss is not None
    )
    return Curve(run.config.seed, before["examples"], before["seconds"], records)


def _sum(since: N, before: N | None) -> N | None:
    """Add what came before, where it is known."""
    return None if before is None else since + before


def _middle(curves: Sequence[Curve]) -> tuple[Middle, ...]:
    """Average over the seeds, epoch by epoch, as far as all of them go."""
    middle = []
    for records in zip(*(curve.records for curve in curves), strict=False):
        accuracies, losses = [r.accuracy for r in records], [r.loss for r in records]
        accuracy_band = loss_band = None
        if len(records) >= BAND:
            low, high = t_interval(accuracies)
            accuracy_band = max(low, 0.0), min(high, 1.0)
            low, high = t_interval(losses)
            loss_band = max(low, 0.0), high
        middle.append(
            Middle(
                epoch=records[0].epoch,
                examples=float(np.mean([r.examples for r in records])),
                seconds=float(np.mean([r.seconds for r in records])),
                accuracy=float(np.mean(accuracies)),
                accuracy_band=accuracy_band,
                loss=float(np.mean(losses)),
                loss_band=loss_band,
            )
        )
    return tuple(middle)


def _span(curves: Sequence[Curve]) -> tuple[int, int] | None:
    """Return the pictures shown from which on, and up to which, every curve has records."""
    if not curves or not all(curve.records for curve in curves):
        return None
    start = max(curve.records[0].examples for curve in curves)
    end = min(curve.records[-1].examples for curve in curves)
    return (start, end) if start < end else None


def _area(curve: Curve, span: tuple[int, int] | None) -> float | None:
    """Return the area under the accuracy by trapezoids, divided by the width: in [0, 1]."""
    if span is None:
        return None
    examples = [record.examples for record in curve.records]
    accuracies = [record.accuracy for record in curve.records]
    places = [span[0], *(e for e in examples if span[0] < e < span[1]), span[1]]
    heights = np.interp(places, examples, accuracies)
    area = math.fsum(np.diff(places) * (heights[1:] + heights[:-1]) / 2)
    return area / (span[1] - span[0])
