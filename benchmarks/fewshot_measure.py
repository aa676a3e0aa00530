"""What came out of a few-shot task: shares with intervals, and how honest its probabilities are.

Shapes: Q pictures shown, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.fewshot_sets import Pictures
from benchmarks.fewshot_tasks import By, Measure, Setting, Task
from siglum import stats
from siglum.recogniser import decide
from siglum.recogniser import teach as teaching
from siglum.recogniser.bundle import Calibration, Samples
from siglum.recogniser.decide import Reading
from siglum.recogniser.head import Head, logits_of
from siglum.recogniser.lesson import Lesson
from siglum.recogniser.predict import Recogniser

LEAST_PROBABILITY = 1e-12  # below it a logarithm says nothing more


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was said of the pictures of a task."""

    task: Task
    logits: NDArray[np.float32]  # (Q, K)
    reading: Reading
    calibration: Calibration


@dataclass(frozen=True)
class Row:
    """A share of a setting with its 95 % interval."""

    set: str
    setting: str
    share: float  # that was right, in [0, 1]
    low: float
    high: float
    pictures: int  # different ones that were read
    tasks: int
    by: By  # what the interval is over
    error: bool  # whether to show 1 - share
    least: float | None
    aim: float | None


@dataclass(frozen=True)
class Certainty:
    """How honest a setting's probabilities, sets and refusals are."""

    set: str
    setting: str
    loss: float  # nats a picture
    ece: float  # in [0, 1]
    temperature: float  # that was used, median of the tasks
    best: float  # temperature that would have been best for all tasks together
    best_loss: float
    covered: float  # share of the prediction sets that hold the sign
    size: float  # classes in a set, mean
    promised: float  # share of the tasks whose sets have samples behind them
    refused: float  # share of true signs taken for none of these


def lesson_of(task: Task) -> Lesson:
    """Return a task's classes and samples as they are taught."""
    taught = task.taught
    samples = Samples(taught.ink, taught.labels, taught.places)
    return Lesson(task.classes, samples, taught.features)


def outcome(backbone: Recogniser, task: Task) -> Outcome:
    """Teach a task as `siglum teach` does, and read its pictures as `siglum predict` does."""
    bundle = teaching.learn(backbone, lesson_of(task)).recogniser.bundle
    assert bundle.head is not None
    logits = logits_from(bundle.head, task.shown)
    reading = decide.read(logits, bundle.calibration, len(task.classes))
    return Outcome(task, logits[:, : len(task.classes)].copy(), reading, bundle.calibration)


def logits_from(head: Head, shown: Pictures) -> NDArray[np.float32]:
    """Return what a head says (Q, K + M) of pictures whose features have length 1 already."""
    there = Head(
        head.vectors,
        head.scale,
        head.bias,
        centre=np.zeros_like(head.centre),
        cosine=True,
        whereabouts=head.whereabouts,
    )
    return logits_of(shown.features, there, shown.places)


def rows(setting: Setting, outcomes: Sequence[Outcome]) -> list[Row]:
    """Return a row for each measure of a setting."""
    return [_row(setting, measure, outcomes) for measure in setting.measures]


def right(measure: Measure, task: Task, probs: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say which pictures (Q,) are read right, with the probabilities of a group added up."""
    groups = [measure.same.get(name, name) for name in task.classes]
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    number = np.array([names[name] for name in groups])
    together = number[:, None] == np.arange(len(names))
    answers: NDArray[np.int64] = (probs @ together).argmax(axis=1)
    hits: NDArray[np.bool_] = answers == number[task.shown.labels]
    return hits


def counted(measure: Measure, task: Task) -> NDArray[np.bool_]:
    """Say which pictures (Q,) a measure is about."""
    has = np.isin(task.shown.labels, task.taught.labels)
    return np.ones(len(has), dtype=bool) if measure.drawn is None else has == measure.drawn


def interval(
    hits: NDArray[np.floating], groups: NDArray[np.generic], pictures: int
) -> tuple[float, float]:
    """Return the wider of the bootstrap over groups and what Wilson says of so many pictures.

    The first knows that pictures of a person hang together, the second that nothing wrong among
    a few does not mean nothing wrong.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    low, high = stats.cluster_bootstrap(hits, numbers)
    plain = stats.wilson(round(float(hits.mean()) * pictures), pictures)
    return min(low, plain.low), max(high, plain.high)


def _row(setting: Setting, measure: Measure, outcomes: Sequence[Outcome]) -> Row:
    kept = [counted(measure, one.task) for one in outcomes]
    hits = [
        right(measure, one.task, one.reading.probs)[mask]
        for one, mask in zip(outcomes, kept, strict=True)
    ]
    shown = [one.task.shown.at(mask) for one, mask in zip(outcomes, kept, strict=True)]
    pictures = len(np.unique(np.concatenate([one.ids for one in shown])))
    whole = np.concatenate(hits).astype(np.float64)
    shares = [float(one.mean()) for one in hits]
    if setting.by == "draw":
        low, high = min(shares), max(shares)
    else:
        names = {
            "writer": [one.writers for one in shown],
            "run": [
                np.full(len(one), out.task.run) for one, out in zip(shown, outcomes, strict=True)
            ],
            "picture": [one.ids for one in shown],
        }
        low, high = interval(whole, np.concatenate(names[setting.by]), pictures)
    name = f"{setting.name}, {measure.name}" if measure.name else setting.name
    return Row(
        set=setting.set,
        setting=name,
        share=float(whole.mean()),
        low=low,
        high=high,
        pictures=pictures,
        tasks=len(outcomes),
        by=setting.by,
        error=setting.error,
        least=measure.least,
        aim=measure.aim,
    )


def certainty(setting: Setting, outcomes: Sequence[Outcome]) -> Certainty:
    """Say how honest the probabilities of a setting's tasks are, all together."""
    width = max(len(one.task.classes) for one in outcomes)
    labels = np.concatenate([one.task.shown.labels for one in outcomes])
    raw = np.concatenate([_widened(one.logits, width) for one in outcomes])
    probs = np.concatenate([_widened(one.reading.probs, width, 0.0) for one in outcomes])
    log_probs = np.log(np.maximum(probs, LEAST_PROBABILITY))
    best = stats.fit_temperature(raw, labels)
    sets = [one.reading.sets for one in outcomes]
    own = [one.task.shown.labels for one in outcomes]
    covered = [s[np.arange(len(s)), label] for s, label in zip(sets, own, strict=True)]
    promises = [one.calibration.sets for one in outcomes]
    return Certainty(
        set=setting.set,
        setting=setting.name,
        loss=stats.negative_log_likelihood(log_probs, labels),
        ece=stats.expected_calibration_error(stats.reliability(log_probs, labels)),
        temperature=float(np.median([one.calibration.temperature for one in outcomes])),
        best=best,
        best_loss=loss_at(raw, labels, best),
        covered=float(np.concatenate(covered).mean()),
        size=float(np.concatenate([one.sum(axis=1) for one in sets]).mean()),
        promised=float(np.mean([one is not None and one.pictures > 0 for one in promises])),
        refused=float(np.concatenate([one.reading.none for one in outcomes]).mean()),
    )


def loss_at(logits: NDArray[np.floating], labels: NDArray[np.int64], temperature: float) -> float:
    """Return the negative log-likelihood of labels, nats a picture, at a temperature."""
    probs = decide.softmax(logits.astype(np.float64) / temperature)
    return stats.negative_log_likelihood(np.log(np.maximum(probs, LEAST_PROBABILITY)), labels)


def _widened(
    values: NDArray[np.floating], width: int, filling: float = -np.inf
) -> NDArray[np.floating]:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=filling)
