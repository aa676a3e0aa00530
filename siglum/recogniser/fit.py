"""Teach: fit prototypes to fonts and drawings, build the bundle, and diagnose the result.

All fits have closed forms on features, so adding a drawing takes milliseconds. The constants were
chosen on one half of the writers and alphabets of the development sets (benchmarks/fewshot.py).
Shapes: N samples, K classes, M background classes, S the side of the frame, D features.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.errors import ConfigError, DataError
from siglum.formatting import count
from siglum.recogniser import head as heads
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs, Samples
from siglum.recogniser.head import Calibration, Floats, Labels, PositionPrior, Positions, Threshold
from siglum.recogniser.predict import Input, Recogniser, default_backbone, stack

SCALE = 20.0  # of cosines, as in the backbone's training
PENALTY = 1.0  # samples
NUM_BACKGROUND = 1000  # characters most similar to the classes, used for rejection
SAME = 0.9  # cosine from which a character counts as one of the classes, not as background
MIN_STD = 0.02  # of positions, image heights: nobody writes more steadily
SHRINKAGE = 2.0  # weight of the overall mean in each class's mean position, in samples
GAINS = (0.25, 0.5, 1.0)
MIN_BENEFIT = 0.02  # nats per sample that positions must gain on left-out samples
COVERAGE = 0.95  # share of prediction sets that shall contain the true class
FALSE_REJECTION_RATE = 0.02  # share of true signs that may be rejected
NUM_REFERENCE = 4
MAX_CLASSES = 12_000
MAX_NAMES = 20  # in a title

CURVE_SIZES = (0, 1, 2, 3, 5, 10, 20, 50)  # samples per class along the learning curve
CURVE_DRAWS = 10  # random choices of samples per point
ENOUGH = 3  # drawings of a class, before more are no longer suggested


@dataclass(frozen=True, eq=False)
class Fitted:
    """A recogniser, what it was fitted to, and its leave-one-out logits."""

    recogniser: Recogniser
    backbone: Recogniser
    samples: Samples  # N
    features: Floats  # of the samples: (N, D), each of length 1
    loo_logits: Floats  # (N, K); -inf at the own class if that would have nothing left
    unknown_classes: tuple[str, ...]  # neither fonts nor samples show them

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which samples can be left out (N,): not the only one of a class that no font has."""
        labels = self.samples.labels
        return np.isfinite(self.loo_logits[np.arange(len(labels)), labels])

    @property
    def accuracy(self) -> stats.Rate | None:
        """Leave-one-out accuracy; None if no sample can be left out."""
        hits = (self.loo_logits.argmax(axis=1) == self.samples.labels)[self.counted]
        return stats.wilson(int(hits.sum()), len(hits)) if len(hits) else None


def font_prototypes(backbone: Recogniser, classes: Sequence[str]) -> Floats:
    """Return the font prototype of each class: (K, D), each of length 1, or 0 if no font has it."""
    index = {name: label for label, name in enumerate(backbone.classes)}
    rows = np.array([index.get(name, -1) for name in classes], np.int64)
    return np.where(rows[:, None] < 0, np.float32(0), backbone.head.unit_vectors[rows])


def background_classes(backbone: Recogniser, vectors: Floats) -> Floats:
    """Return the characters (M, D) most similar to the classes' `vectors`, but not the same."""
    characters = backbone.head.unit_vectors
    similarity = (characters @ vectors.T).max(axis=1)
    similarity[similarity >= SAME] = -np.inf
    limit = min(NUM_BACKGROUND, int(np.isfinite(similarity).sum()))
    return characters[np.sort(np.argsort(-similarity, kind="stable")[:limit])]


def ridge(
    features: Floats, labels: Labels, font_prototypes: Floats, penalty: float, scale: float
) -> tuple[Floats, Floats]:
    """Fit least squares towards 1 for the own class and 0 for others, shrunk towards the fonts.

    Returns prototypes (K, D), and the logits (N, K) of each sample under a fit without it: -inf at
    the own class if that would have nothing left. Prototypes are scaled to length 1, as those of
    fonts are: classes with samples would otherwise score higher.

    Source: Hastie, Tibshirani, Friedman 2009, "The elements of statistical learning", sections
    3.4.1 and 7.10.1 (equation 7.64: leave-one-out predictions in closed form).
    """
    x = features.astype(np.float64)
    prior = font_prototypes.astype(np.float64)
    targets = np.zeros((len(x), len(prior)))
    targets[np.arange(len(x)), labels] = 1
    gram = x.T @ x + penalty * np.eye(x.shape[1])
    solution = np.linalg.inv(gram) @ x.T  # (D, N); the penalty keeps this well-conditioned
    vectors = prior + (solution @ (targets - x @ prior.T)).T
    # Without sample n, each vector loses `step[n]` times column n of `solution`.
    leverage, logits = (x * solution.T).sum(axis=1)[:, None], x @ vectors.T
    step = (targets - logits) / np.maximum(1 - leverage, 1e-9)
    logits -= leverage * step
    squared = (vectors**2).sum(axis=1) - 2 * step * (solution.T @ vectors.T)
    squared += (solution**2).sum(axis=0)[:, None] * step**2
    loo_logits = logits / np.sqrt(np.maximum(squared, 1e-12))
    single = np.bincount(labels, minlength=len(prior))[labels] == 1
    rows = np.flatnonzero(single & ~prior[labels].any(axis=1))
    loo_logits[rows, labels[rows]] = -np.inf
    return heads.unit(vectors), (scale * loo_logits).astype(np.float32)


def fit_position_prior(
    positions: Positions, labels: Labels, loo_logits: Floats
) -> tuple[PositionPrior | None, Floats]:
    """Fit the prior, and return it with what it adds to the leave-one-out logits (N, K), if any."""
    num_classes, rows = loo_logits.shape[1], np.arange(len(labels))
    nothing = None, np.zeros(loo_logits.shape, np.float32)
    counted = np.isfinite(loo_logits[rows, labels])
    if counted.sum() < 2 * num_classes or not np.isfinite(positions).all():
        return nothing
    x = np.clip(positions, 0, 1).astype(np.float64)
    counts = np.bincount(labels, minlength=num_classes)[:, None]
    sums = np.zeros((num_classes, 3))
    np.add.at(sums, labels, x)
    overall = x.mean(axis=0)
    mean = (sums + SHRINKAGE * overall) / (counts + SHRINKAGE)
    degrees = max(len(x) - int((counts > 0).sum()), 1)
    std = np.maximum(np.sqrt(((x - mean[labels]) ** 2).sum(axis=0) / degrees), MIN_STD)
    offset = x[:, None] - mean  # (N, K, 3)
    loo_mean = (sums[labels] - x + SHRINKAGE * overall) / (counts[labels] - 1 + SHRINKAGE)
    offset[rows, labels] = x - loo_mean
    added = heads.student_t(((offset / std) ** 2).sum(axis=2))

    def loss(gain: float) -> float:
        logits = loo_logits[counted] + gain * added[counted]
        logits -= logits.max(axis=1, keepdims=True)
        own = logits[np.arange(len(logits)), labels[counted]]
        return float((np.log(np.exp(logits).sum(axis=1)) - own).mean())

    gain = min(GAINS, key=loss)
    if loss(0.0) - loss(gain) < MIN_BENEFIT:
        return nothing
    prior = PositionPrior(mean.astype(np.float32), std.astype(np.float32), gain)
    return prior, (gain * added).astype(np.float32)


def calibrate(
    loo_logits: Floats, labels: Labels, num_classes: int, default: Calibration
) -> Calibration:
    """Measure temperature and thresholds on leave-one-out logits (N, K + M).

    Prediction sets get a threshold per class if every class has enough samples, else one for all.
    With too few samples, or with a class that has none, the default holds.
    """
    counted = np.isfinite(loo_logits[np.arange(len(labels)), labels])
    loo_logits, labels = loo_logits[counted], labels[counted]
    if not len(labels):
        return default
    temperature = stats.fit_temperature(loo_logits[:, :num_classes], labels, default.temperature)
    scaled = loo_logits / temperature
    scores = 1 - heads.softmax(scaled[:, :num_classes])[np.arange(len(labels)), labels]
    sets = None
    if len(np.unique(labels)) == num_classes:
        by_class = [scores[labels == k] for k in range(num_classes)]
        sets = _threshold(by_class, COVERAGE) or _threshold([scores], COVERAGE)
    rejection = _threshold([heads.ood_score(scaled, num_classes)], 1 - FALSE_REJECTION_RATE)
    if rejection is None and default.rejection is not None:
        factor = default.temperature / temperature
        values = tuple(factor * value for value in default.rejection.values)
        rejection = default.rejection.model_copy(update={"values": values})
    measured = {"temperature": temperature, "num_samples": len(labels)}
    return Calibration(**measured, sets=sets or default.sets, rejection=rejection)


def _threshold(groups: list[NDArray[np.floating]], coverage: float) -> Threshold | None:
    """Return limits that new scores stay within with probability `coverage`; None if too few.

    It is the k-th smallest of n scores, k = ceil((n + 1) * coverage), if scores are exchangeable.

    Source: Vovk, Gammerman, Shafer 2005, "Algorithmic learning in a random world", section 2.2;
    Barber, Candès, Ramdas, Tibshirani 2021, "Predictive inference with the jackknife+", The Annals
    of Statistics 49(1): for leave-one-out scores at least 2 * coverage - 1 is guaranteed, and
    about `coverage` is usual.
    """
    values = []
    for scores in groups:
        rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
        if rank > len(scores):
            return None
        values.append(float(np.sort(scores)[rank - 1]))
    return Threshold(coverage=coverage, values=tuple(values), num_samples=sum(map(len, groups)))


def fit(
    backbone: Recogniser,
    classes: Sequence[str],
    samples: Samples | None = None,
    features: Floats | None = None,
) -> Fitted:
    """Fit a recogniser to font prototypes and samples; their features save time."""
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise ConfigError(f"classes must be 2 to {MAX_CLASSES:,}, got {len(classes):,}.")
    if samples is None:
        ink = np.empty((0, *[backbone.preprocess.size] * 2), np.uint8)
        samples = Samples(ink, np.empty(0, np.int64), np.empty((0, 3), np.float32))
    features = backbone.features(samples.ink) if features is None else features
    fonts = font_prototypes(backbone, classes)
    vectors, loo_logits = ridge(features, samples.labels, fonts, PENALTY, SCALE)
    background = background_classes(backbone, vectors)
    prior, added = fit_position_prior(samples.positions, samples.labels, loo_logits)
    loo_logits = loo_logits + added
    rows = len(classes) + len(background)
    head = heads.Head(
        vectors=np.concatenate([vectors, background]).astype(np.float16),
        scale=np.full(rows, SCALE, np.float32),
        bias=np.zeros(rows, np.float32),
        centre=backbone.head.centre,
        position=prior,
    )
    outside = SCALE * (features @ background.T)
    if len(background):
        outside = outside.max(axis=1, keepdims=True)
    with_outside = np.concatenate([loo_logits, outside], axis=1)
    default = backbone.bundle.calibration
    bundle = replace(
        backbone.bundle,
        classes=tuple(classes),
        calibration=calibrate(with_outside, samples.labels, len(classes), default),
        card=Card(kind="taught", network="backbone", parameters=backbone.bundle.card.parameters),
        head=head,
        samples=samples if len(samples.labels) else None,
    )
    recogniser = Recogniser(bundle, backbone.network)
    exists = fonts.any(axis=1) | np.isin(range(len(classes)), samples.labels)
    unknown = tuple(name for name, one in zip(classes, exists, strict=True) if not one)
    recogniser.fitted = Fitted(recogniser, backbone, samples, features, loo_logits, unknown)
    return recogniser.fitted


def add(recogniser: Recogniser, label: str, inputs: Sequence[Input]) -> None:
    """Fit a taught recogniser again, with further samples of a class; see `Recogniser.add`."""
    bundle, fitted = recogniser.bundle, recogniser.fitted
    if fitted is None:
        backbone = default_backbone()
        if bundle.card.kind != "taught" or bundle.model != backbone.bundle.model:
            reason = "It was not taught on Siglum's own backbone. Teach a new one with siglum.teach"
            raise DataError(f"Cannot add drawings to this recogniser. {reason}.")
        fitted = fit(backbone, bundle.classes, bundle.samples)
    if not all(one.planes.any() for one in inputs) or not inputs:
        raise DataError(f"No ink found in the drawings of {label!r}.")
    planes, positions = stack(inputs)
    classes = bundle.classes if label in bundle.classes else (*bundle.classes, label)
    new = Samples(planes[:, 0], np.full(len(inputs), classes.index(label)), positions)
    pairs: Any = zip(fitted.samples, new, strict=True)
    features = np.concatenate([fitted.features, fitted.backbone.features(new.ink)])
    samples = Samples(*map(np.concatenate, pairs))
    recogniser.fitted = fit(fitted.backbone, classes, samples, features)
    recogniser.bundle = recogniser.fitted.recogniser.bundle


def to_bundle(fitted: Fitted, title: str = "", command: str = "") -> Bundle:
    """Return the bundle to save, with its card and reference outputs on its own samples."""
    recogniser, accuracy, ink = fitted.recogniser, fitted.accuracy, fitted.samples.ink
    bundle, classes = recogniser.bundle, recogniser.classes
    images = bundle.reference.images[:NUM_REFERENCE]
    if len(ink):
        rows = np.linspace(0, len(ink) - 1, min(NUM_REFERENCE, len(ink))).astype(int)
        images = ink[rows][:, None]
    more = f" and {len(classes) - MAX_NAMES} more" if len(classes) > MAX_NAMES else ""
    card = Card(
        kind="taught",
        title=title or f"{len(classes)} signs: {' '.join(classes[:MAX_NAMES])}{more}",
        command=command,
        network=bundle.card.network,
        parameters=bundle.card.parameters,
        data={"samples": len(ink)},
        measured={} if accuracy is None else {"leave-one-out": accuracy},
        reference="samples" if len(ink) else "font characters",
        versions={name: version(name) for name in ("siglum", "onnxruntime", "numpy")},
    )
    reference = ReferenceOutputs(images, recogniser.logits(images)[:, : len(classes)])
    return replace(bundle, card=card, reference=reference)


class CurvePoint(NamedTuple):
    """Accuracy on the other samples, over random choices of samples to learn from."""

    samples_per_class: int  # 0: from fonts alone
    accuracy: float  # mean
    low: float  # lowest
    high: float  # highest


def diagnose(fitted: Fitted) -> dict[str, Any]:
    """Return accuracy, confusions, a learning curve, and which class needs drawings, as JSON."""
    labels, classes = fitted.samples.labels, fitted.recogniser.classes
    predicted = fitted.loo_logits.argmax(axis=1)
    wrong = fitted.counted & (predicted != labels)
    errors = Counter(sorted(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True)))
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    unknown = [name in fitted.unknown_classes for name in classes]
    suggestions = suggest(classes, counts, errors, unknown)
    return {
        "accuracy": fitted.accuracy and asdict(fitted.accuracy),
        "confusions": [
            {"label": classes[own], "predicted": classes[other], "count": n, "total": counts[own]}
            for (own, other), n in errors.most_common()
        ],
        "suggestions": [{"label": classes[label], **one} for label, one in suggestions.items()],
        "learning_curve": [one._asdict() for one in learning_curve(fitted)],
        "untested": [name for name, n in zip(classes, counts, strict=True) if not n],
    }


def learning_curve(fitted: Fitted) -> tuple[CurvePoint, ...]:
    """Learn from some random samples of each class and predict the rest, `CURVE_DRAWS` times."""
    (_, labels, positions), features = fitted.samples, fitted.features
    fonts = font_prototypes(fitted.backbone, fitted.recogniser.classes)
    members = [np.flatnonzero(labels == label) for label in range(len(fonts))]
    random = np.random.RandomState(0)
    points = []
    for size in CURVE_SIZES:
        allowed = range(len(fonts)) if size else np.flatnonzero(fonts.any(axis=1))
        tested = [members[label] for label in allowed if len(members[label]) > size]
        if len(tested) < max(2, sum(len(rows) > 0 for rows in members) / 2):
            continue  # fewer than half of the classes allow this size
        accuracies = []
        for _ in range(CURVE_DRAWS if size else 1):
            chosen = np.concatenate([random.permutation(rows)[:size] for rows in members])
            rest = np.setdiff1d(np.concatenate(tested), chosen)
            own = labels[chosen]
            vectors, loo = ridge(features[chosen], own, fonts, PENALTY, SCALE)
            logits = SCALE * (features[rest] @ vectors.T)
            prior, _ = fit_position_prior(positions[chosen], own, loo)
            if prior is not None:
                logits += prior.logits(positions[rest])
            accuracies.append(float((logits.argmax(axis=1) == labels[rest]).mean()))
        mean = float(np.mean(accuracies))
        points.append(CurvePoint(size, mean, min(accuracies), max(accuracies)))
    return tuple(points)


def suggest(
    names: Sequence[str],
    counts: Sequence[int],
    errors: Mapping[tuple[int, int], int],
    unknown: Sequence[bool],
) -> dict[int, dict[str, str]]:
    """Return why drawings would help a class, as kind and message by label, most urgent first.

    `errors` counts drawings of one label predicted as another; no drawing shows `unknown` classes.
    """
    mistaken: dict[int, Counter[int]] = defaultdict(Counter)
    for (label, other), times in errors.items():
        mistaken[label][other] = times
    suggestions, gains = {}, {}
    for label, n in enumerate(counts):
        wrong = mistaken[label]
        if unknown[label]:
            kind, message = "unknown", "No font has it. Draw it."
        elif wrong:
            ((other, times),) = wrong.most_common(1)
            kind, message = "confused", f"{times} of {n} mistaken for {names[other]!r}"
        elif not n:
            kind, message = "untested", "Known from fonts. Draw it once to check your hand."
        elif n < ENOUGH:
            kind, message = "few_drawings", f"{count(n, 'drawing')}, {ENOUGH - n} more help"
        else:
            continue
        suggestions[label] = {"kind": kind, "message": message}
        # The error rate, smoothed by one hit and one miss, and what one drawing more changes.
        gains[label] = (wrong.total() + 1) / (n + 2) / (n + 1) ** 0.5 + unknown[label]
    return {
        label: suggestions[label] for label in sorted(gains, key=gains.__getitem__, reverse=True)
    }
