"""Teach: fit prototypes to fonts and drawings, build the bundle, and diagnose the result.

All fits have closed forms on features, so adding a drawing takes milliseconds. The constants were
chosen on one half of the writers and alphabets of the development sets (benchmarks/fewshot.py).
Shapes: N samples, K classes, S the side of the frame, D features.
"""

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
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs, Samples
from siglum.recogniser.calibration import calibrate, ood_score
from siglum.recogniser.predict import Input, Recogniser, default_backbone, stack
from siglum.recogniser.prototype_head import (
    Floats,
    Head,
    background_classes,
    fit_position_prior,
    fit_prototypes,
    font_prototypes,
)

SCALE = 20.0  # of cosines, as in the backbone's training
PENALTY = 1.0  # samples
NUM_REFERENCE = 4
MAX_CLASSES = 12_000
MAX_DRAWINGS = 5_000  # that images are compared with for rejection
BATCH = 1_000  # samples compared at once
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


def fit(
    backbone: Recogniser,
    classes: Sequence[str],
    samples: Samples | None = None,
    features: Floats | None = None,
    outputs: Mapping[str, str] | None = None,
) -> Fitted:
    """Fit a recogniser to font prototypes and samples; their features save time."""
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise ConfigError(f"classes must be 2 to {MAX_CLASSES:,}, got {len(classes):,}.")
    if samples is None:
        ink = np.empty((0, *[backbone.preprocess.size] * 2), np.uint8)
        samples = Samples(ink, np.empty(0, np.int64), np.empty((0, 3), np.float32))
    features = backbone.features(samples.ink) if features is None else features
    fonts = font_prototypes(backbone, classes)
    vectors, loo_logits = fit_prototypes(features, samples.labels, fonts, PENALTY, SCALE)
    background = background_classes(backbone, vectors)
    prior, added = fit_position_prior(samples.positions, samples.labels, loo_logits)
    loo_logits = loo_logits + added
    by_class = np.argsort(samples.labels, kind="stable")
    number = min(len(features), MAX_DRAWINGS)
    compared = by_class[np.linspace(0, len(features) - 1, number).astype(int)]
    others = np.concatenate([background, features[compared]])
    rows = len(classes) + len(others)
    head = Head(
        vectors=np.concatenate([vectors, others]).astype(np.float16),
        scale=np.full(rows, SCALE, np.float32),
        bias=np.zeros(rows, np.float32),
        centre=backbone.head.centre,
        position=prior,
    )
    scores = np.empty(len(features))
    for start in range(0, len(features), BATCH):
        part = np.arange(len(features))[start : start + BATCH]
        similarity = SCALE * (features[part] @ others.T)
        similarity[:, len(background) :][part[:, None] == compared] = -np.inf
        logits = np.concatenate([loo_logits[part], similarity], axis=1)
        scores[part] = ood_score(logits, len(classes), number)
    default = backbone.bundle.calibration
    texts = {name: (outputs or {}).get(name, "") for name in classes}
    bundle = replace(
        backbone.bundle,
        classes=tuple(classes),
        calibration=calibrate(loo_logits, samples.labels, scores, number, default),
        card=Card(kind="taught", network="backbone", parameters=backbone.bundle.card.parameters),
        head=head,
        samples=samples if len(samples.labels) else None,
        outputs={name: text for name, text in texts.items() if text not in ("", name)},
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
        fitted = fit(backbone, bundle.classes, bundle.samples, outputs=bundle.outputs)
    if not inputs or not all(one.planes.any() for one in inputs):
        problem = "No ink found in the drawings of" if inputs else "No drawings given for"
        raise DataError(f"{problem} {label!r}.")
    planes, positions = stack(inputs)
    classes = bundle.classes if label in bundle.classes else (*bundle.classes, label)
    new = Samples(planes[:, 0], np.full(len(inputs), classes.index(label)), positions)
    pairs: Any = zip(fitted.samples, new, strict=True)
    features = np.concatenate([fitted.features, fitted.backbone.features(new.ink)])
    samples = Samples(*map(np.concatenate, pairs))
    recogniser.fitted = fit(fitted.backbone, classes, samples, features, bundle.outputs)
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
            vectors, loo = fit_prototypes(features[chosen], own, fonts, PENALTY, SCALE)
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
            kind, message = "unknown", f"New: draw it {ENOUGH} times."
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
