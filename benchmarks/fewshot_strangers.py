"""Signs that nobody taught: how many are taken for one that was, and at what cost.

Without a threshold: the area under the ROC curve, and the strangers that pass where 2 % of the true
signs are refused. As it comes: what the threshold found in teaching refuses and lets pass.
Shapes: Q pictures, K classes, M outsiders.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.fewshot_measure import lesson_of, logits_from
from benchmarks.fewshot_sets import Half, Pictures, alphabet, seen
from benchmarks.fewshot_tasks import DIGITS, Task, by_print, drawn
from siglum.recogniser import decide
from siglum.recogniser import teach as teaching
from siglum.recogniser.decide import REFUSED
from siglum.recogniser.predict import Recogniser

DRAWS = 5
MOST = 500  # pictures of a set that are shown
LIKE_DIGITS = "OoIlZzSsbgq"

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Encounter:
    """A task, and pictures of signs that are none of its classes."""

    task: Task
    strangers: Pictures


@dataclass(frozen=True)
class Refusals:
    """How well strangers are told from the signs that were taught, mean of the encounters."""

    setting: str
    encounters: int
    true: int  # pictures of an encounter, mean
    strangers: int
    area: float  # under the ROC curve
    passed: float  # share of strangers that pass where 2 % of true signs are refused
    refused: float  # share of true signs refused by the threshold that teaching found
    accepted: float  # share of strangers that it lets pass
    promised: bool  # whether the threshold has samples behind it


def encounters(backbone: Recogniser, half: Half) -> Iterator[tuple[str, list[Encounter]]]:
    """Yield what is taught and what strangers come, in words, with every draw of it."""
    letters = seen(backbone, "handdrawn greek").half(half)
    some = []
    for seed in range(DRAWS):
        chosen = np.random.RandomState(seed).permutation(letters.classes)
        known, others = letters.among(chosen[:10].tolist()), letters.among(chosen[10:].tolist())
        some.append(Encounter(by_print(known), others))
    yield "10 Greek letters by print; the other 7", some

    digits, pool = seen(backbone, "mnist").half(half), seen(backbone, "mnist samples").half(half)
    digits, kana = _few(digits), _few(seen(backbone, "kmnist").half(half))
    yield "mnist by print; kmnist", [Encounter(by_print(digits), kana)]
    some = []
    for seed in range(DRAWS):
        taught = pool.at(drawn(pool, 10, seed)[0])
        some.append(Encounter(Task(DIGITS, taught, digits, seed), kana))
    yield "mnist, 10 samples and print; kmnist", some
    some = []
    for seed in range(DRAWS):
        samples, rest = drawn(kana, 10, seed)
        some.append(Encounter(Task(kana.classes, kana.at(samples), kana.at(rest), seed), digits))
    yield "kmnist, 10 samples; mnist", some

    signs = seen(backbone, "omniglot").half(half)
    for shots in (1, 5):
        yield (
            f"half an omniglot alphabet, {shots} sample{'s' * (shots > 1)}; its other half",
            list(_alphabet_halves(signs, shots)),
        )

    people = seen(backbone, "Chars74K").half(half)
    figures = people.among(DIGITS)
    unlike = people.among([name for name in people.classes if name not in {*DIGITS, *LIKE_DIGITS}])
    yield "Chars74K digits by print; letters unlike them", [Encounter(by_print(figures), unlike)]
    some = []
    for seed in range(DRAWS):
        samples, left = drawn(figures, 10, seed, by_writer=True)
        others = unlike.at(np.isin(unlike.writers, figures.writers[left]))
        task = Task(DIGITS, figures.at(samples), figures.at(left), seed)
        some.append(Encounter(task, others))
    yield "Chars74K digits, 10 samples and print; letters unlike them", some


def _alphabet_halves(pictures: Pictures, shots: int) -> Iterator[Encounter]:
    names = np.array([alphabet(name) for name in pictures.classes])
    for place, name in enumerate(sorted(set(names[np.unique(pictures.labels)]))):
        for number in range(DRAWS):
            random = np.random.RandomState(1000 * place + number)
            signs = random.permutation(np.flatnonzero(names == name))
            half = len(signs) // 2
            known = pictures.among([pictures.classes[sign] for sign in signs[:half]])
            others = pictures.among([pictures.classes[sign] for sign in signs[half:]])
            people = random.permutation(np.unique(known.writers))
            taught = known.at(np.isin(known.writers, people[:shots]))
            shown = known.at(~np.isin(known.writers, people[:shots]))
            strangers = others.at(~np.isin(others.writers, people[:shots]))
            yield Encounter(Task(known.classes, taught, shown, number), strangers)


def _few(pictures: Pictures) -> Pictures:
    return pictures.at(np.linspace(0, len(pictures) - 1, min(MOST, len(pictures))).astype(int))


def as_shipped(backbone: Recogniser, setting: str, met: Sequence[Encounter]) -> Refusals:
    """Refuse as `siglum predict` does."""
    found = []
    for one in met:
        bundle = teaching.learn(backbone, lesson_of(one.task)).recogniser.bundle
        head, calibration, count = bundle.head, bundle.calibration, len(one.task.classes)
        assert head is not None
        logits = [logits_from(head, pictures) for pictures in (one.task.shown, one.strangers)]
        true, strange = (
            decide.strangeness(values / calibration.temperature, count) for values in logits
        )
        none = [decide.read(values, calibration, count).none for values in logits]
        promise = calibration.none
        found.append(
            (
                area(true, strange),
                passed(true, strange),
                float(none[0].mean()),
                1 - float(none[1].mean()),
                promise is not None and promise.pictures > 0,
            )
        )
    means = np.array(found, float).mean(axis=0).tolist()
    return Refusals(
        setting=setting,
        encounters=len(met),
        true=round(float(np.mean([len(one.task.shown) for one in met]))),
        strangers=round(float(np.mean([len(one.strangers) for one in met]))),
        area=means[0],
        passed=means[1],
        refused=means[2],
        accepted=means[3],
        promised=bool(means[4] > 0.5),
    )


def area(true: Floats, strange: Floats) -> float:
    """Return the chance that a stranger's score is above a true sign's; a tie counts half.

    Source: Hanley, McNeil 1982, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", Radiology 143.
    """
    ordered = np.sort(true)
    below = np.searchsorted(ordered, strange, side="left")
    equal = np.searchsorted(ordered, strange, side="right") - below
    return float((below + equal / 2).mean() / len(true))


def passed(true: Floats, strange: Floats, refused: float = REFUSED) -> float:
    """Return the share of strangers that pass where a share of the true signs is refused."""
    threshold = np.quantile(true, 1 - refused)
    return float((strange <= threshold).mean())
