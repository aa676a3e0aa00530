"""Teach: fit prototypes to fonts and drawings, build the bundle, and diagnose the result.

All fits have closed forms on features, so adding a drawing takes milliseconds. The constants were
chosen on one half of the writers and alphabets of the development sets (benchmarks/fewshot.py).
Shapes: N samples, K classes, M background classes, S the side of the frame, D features.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.errors import ConfigError, DataError
from siglum.formatting import count
from siglum.images.imageset import ImageSet
from siglum.recogniser import prototypes
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs, Samples
from siglum.recogniser.calibration import calibrate
from siglum.recogniser.position import Positions, fit_position_prior
from siglum.recogniser.predict import Recogniser, default_backbone, open_bundle
from siglum.recogniser.prototypes import Floats, Head, Labels

SCALE = 20.0  # of cosines, as in the backbone's training
PENALTY = 1.0  # samples
NUM_BACKGROUND = 1000  # characters most similar to the classes, used for rejection
SAME = 0.9  # cosine from which a character counts as one of the classes, not as background
NUM_REFERENCE = 4
MAX_NAMES = 20  # in a title

CURVE_SIZES = (1, 2, 3, 5, 10, 20, 50)  # samples per class along the learning curve
CURVE_DRAWS = 10  # random choices of samples per point
ENOUGH = 3  # drawings of a class, before more are no longer suggested


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Classes and samples with their features, so that adding one sample is quick."""

    classes: tuple[str, ...]  # K
    samples: Samples  # N
    features: Floats  # (N, D), each of length 1

    def __len__(self) -> int:
        return len(self.samples.labels)

    @property
    def counts(self) -> Labels:
        """Samples per class: (K,)."""
        return np.bincount(self.samples.labels, minlength=len(self.classes)).astype(np.int64)

    @classmethod
    def empty(cls, backbone: Recogniser, classes: Sequence[str]) -> "TrainingSet":
        """Return classes without samples.

        Raises:
            ConfigError: if there are fewer than two classes, too many, or a name occurs twice.
        """
        limit = max(len(backbone.classes), 10_000)
        if not 2 <= len(classes) <= limit:
            raise ConfigError(
                f"classes must be 2 to {limit:,}, got {len(classes):,}. A recogniser tells signs "
                "apart: name at least two."
            )
        (name, repeats), *_ = Counter(classes).most_common(1)
        if repeats > 1:
            raise ConfigError(f"classes must be unique, got {name!r} {repeats} times.")
        size = backbone.preprocess.size
        samples = Samples(
            np.empty((0, size, size), np.uint8), np.empty(0, np.int64), np.empty((0, 3), np.float32)
        )
        return cls(tuple(classes), samples, backbone.features(samples.ink))

    @classmethod
    def from_images(
        cls, backbone: Recogniser, classes: Sequence[str], images: ImageSet
    ) -> tuple["TrainingSet", "SkippedImages"]:
        """Return the images as samples, without blank ones and repetitions within a class.

        Equal images would vouch for each other in leave-one-out predictions.

        Args:
            images: preprocessed for the backbone, with position channels.

        Raises:
            DataError: if an image's class is not in `classes`, or no image shows ink.
        """
        index = {name: label for label, name in enumerate(classes)}
        if missing := [name for name in images.classes if name not in index]:
            raise DataError(f"No such class: {missing[0]!r}, in {images.source}.")
        labels = np.array([index[name] for name in images.classes], np.int64)[images.labels]
        planes = images.images
        ink = planes[:, 0]
        inked = ink.any(axis=(1, 2))
        if not inked.any():
            raise DataError(f"No ink found in the images of {images.source}.")
        rows_by_ink: dict[bytes, dict[int, int]] = {}  # and by label
        selected, repeated, contradicting = [], [], []
        for row in np.flatnonzero(inked).tolist():
            rows = rows_by_ink.setdefault(ink[row].tobytes(), {})
            if labels[row] in rows:
                repeated.append(row)
                continue
            if rows:
                contradicting.append((next(iter(rows.values())), row))
            rows[int(labels[row])] = row
            selected.append(row)
        positions = planes[selected][:, 1:, 0, 0].astype(np.float32) / np.float32(255.0)
        training_set = cls.empty(backbone, classes).add(
            backbone, ink[selected], labels[selected], positions
        )
        skipped = SkippedImages(
            tuple(np.flatnonzero(~inked).tolist()), tuple(repeated), tuple(contradicting)
        )
        return training_set, skipped

    def with_class(self, name: str) -> "TrainingSet":
        """Return a set that has the class, too."""
        return self if name in self.classes else replace(self, classes=(*self.classes, name))

    def add(
        self, backbone: Recogniser, ink: NDArray[np.uint8], labels: Labels, positions: Positions
    ) -> "TrainingSet":
        """Return a set with more samples: ink (N, S, S), labels (N,) and positions (N, 3).

        Raises:
            DataError: if a sample shows no ink.
        """
        if (blank := ~ink.any(axis=(1, 2))).any():
            raise DataError(f"No ink found in a sample of {self.classes[labels[blank][0]]!r}.")
        old = self.samples
        samples = Samples(
            np.concatenate([old.ink, ink]),
            np.concatenate([old.labels, labels.astype(np.int64)]),
            np.concatenate([old.positions, positions.astype(np.float32)]),
        )
        features = np.concatenate([self.features, backbone.features(ink)])
        return replace(self, samples=samples, features=features)

    def remove(self, rows: Sequence[int]) -> "TrainingSet":
        """Return a set without the samples at `rows`."""
        rest = np.setdiff1d(np.arange(len(self)), np.array(rows, np.int64))
        old = self.samples
        samples = Samples(old.ink[rest], old.labels[rest], old.positions[rest])
        return replace(self, samples=samples, features=self.features[rest])


@dataclass(frozen=True)
class SkippedImages:
    """Rows of images that are no samples, and pairs of equal images with different labels."""

    blank: tuple[int, ...]
    repeated: tuple[int, ...]
    contradicting: tuple[tuple[int, int], ...]  # both are samples


@dataclass(frozen=True, eq=False)
class Fitted:
    """A recogniser, what it was fitted to, and its leave-one-out logits."""

    backbone: Recogniser
    training_set: TrainingSet
    recogniser: Recogniser
    loo_logits: Floats  # (N, K); -inf at the own class if that would have nothing left
    unknown_classes: tuple[str, ...]  # neither fonts nor samples show them

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which samples can be left out (N,): not the only one of a class that no font has."""
        labels = self.training_set.samples.labels
        return np.isfinite(self.loo_logits[np.arange(len(labels)), labels])

    @property
    def accuracy(self) -> stats.Rate | None:
        """Leave-one-out accuracy; None if no sample can be left out."""
        hits = (self.loo_logits.argmax(axis=1) == self.training_set.samples.labels)[self.counted]
        return stats.wilson(int(hits.sum()), len(hits)) if len(hits) else None


def font_prototypes(backbone: Recogniser, classes: Sequence[str]) -> Floats:
    """Return the font prototype of each class: (K, D), each of length 1, or 0 if no font has it."""
    index = {name: label for label, name in enumerate(backbone.classes)}
    rows = np.array([index.get(name, -1) for name in classes], np.int64)
    return np.where(rows[:, None] < 0, np.float32(0), backbone.head.unit_vectors[rows])


def background_classes(backbone: Recogniser, vectors: Floats, limit: int) -> Floats:
    """Return the characters (M, D) most similar to the classes' `vectors`, but not the same."""
    characters = backbone.head.unit_vectors
    similarity = (characters @ vectors.T).max(axis=1, initial=-1.0)
    similarity[similarity >= SAME] = -np.inf
    limit = min(limit, int(np.isfinite(similarity).sum()))
    return characters[np.sort(np.argsort(-similarity, kind="stable")[:limit])]


def fit(backbone: Recogniser, training_set: TrainingSet) -> Fitted:
    """Fit a recogniser to font prototypes and samples."""
    classes, labels = training_set.classes, training_set.samples.labels
    fonts = font_prototypes(backbone, classes)
    ridge = prototypes.ridge(training_set.features, labels, fonts, PENALTY, SCALE)
    background = background_classes(backbone, ridge.prototypes, NUM_BACKGROUND)
    prior, added = fit_position_prior(
        training_set.samples.positions, labels, len(classes), ridge.loo_logits
    )
    loo_logits = ridge.loo_logits + added
    rows = len(classes) + len(background)
    head = Head(
        vectors=np.concatenate([ridge.prototypes, background]).astype(np.float16),
        scale=np.full(rows, SCALE, np.float32),
        bias=np.zeros(rows, np.float32),
        centre=backbone.head.centre,
        cosine=True,
        position=prior,
    )
    outside = SCALE * (training_set.features @ background.T)
    if len(background):
        outside = outside.max(axis=1, keepdims=True)
    calibration = calibrate(
        np.concatenate([loo_logits, outside], axis=1),
        labels,
        len(classes),
        backbone.bundle.calibration,
    )
    bundle = Bundle(
        model=backbone.bundle.model,
        preprocess=backbone.preprocess,
        classes=classes,
        calibration=calibration,
        card=Card(kind="taught", network="backbone", parameters=backbone.bundle.card.parameters),
        reference=backbone.bundle.reference,
        head=head,
        samples=training_set.samples if len(training_set) else None,
    )
    known = fonts.any(axis=1) | (training_set.counts > 0)
    unknown = tuple(name for name, is_known in zip(classes, known, strict=True) if not is_known)
    recogniser = Recogniser(bundle, backbone.network)
    recogniser.fitted = Fitted(backbone, training_set, recogniser, loo_logits, unknown)
    return recogniser.fitted


def refit(recogniser: Recogniser) -> Fitted:
    """Return the fit of a taught recogniser; one that was loaded is fitted again.

    Raises:
        DataError: if it was not taught, or on another backbone than Siglum's own.
    """
    if recogniser.fitted is not None:
        return recogniser.fitted
    bundle, backbone = recogniser.bundle, default_backbone()
    if bundle.card.kind != "taught" or bundle.model != backbone.bundle.model:
        raise DataError(
            "Cannot add drawings to a recogniser that was not taught on Siglum's own backbone. "
            "Teach a new one with siglum.teach."
        )
    training_set = TrainingSet.empty(backbone, recogniser.classes)
    if (samples := bundle.samples) is not None:
        training_set = training_set.add(backbone, samples.ink, samples.labels, samples.positions)
    return fit(backbone, training_set)


def default_title(classes: Sequence[str]) -> str:
    """Return a title that names the classes: "3 signs: α β γ"."""
    more = f" and {len(classes) - MAX_NAMES} more" if len(classes) > MAX_NAMES else ""
    return f"{len(classes)} signs: {' '.join(classes[:MAX_NAMES])}{more}"


def to_bundle(fitted: Fitted, title: str = "", command: str = "") -> Bundle:
    """Return the bundle to save, with its card and reference outputs on its own samples.

    Args:
        title: what it recognises; by default its classes.
        command: that made it.
    """
    recogniser, accuracy = fitted.recogniser, fitted.accuracy
    bundle, samples = recogniser.bundle, recogniser.bundle.samples
    images = bundle.reference.images[:NUM_REFERENCE]
    if samples is not None:
        last, num = len(samples.ink) - 1, min(NUM_REFERENCE, len(samples.ink))
        images = samples.ink[np.linspace(0, last, num).astype(int)][:, None]
    logits = recogniser.logits(images)[:, : len(bundle.classes)]
    card = bundle.card.model_copy(
        update={
            "title": title or default_title(bundle.classes),
            "command": command,
            "data": {"samples": 0 if samples is None else len(samples.labels)},
            "measured": {} if accuracy is None else {"leave-one-out": accuracy},
            "reference": "font characters" if samples is None else "samples",
            "versions": {name: version(name) for name in ("siglum", "onnxruntime", "numpy")},
        }
    )
    complete = replace(bundle, card=card, reference=ReferenceOutputs(images, logits))
    open_bundle(complete, card.title)
    return complete


@dataclass(frozen=True)
class Confusion:
    """Samples of one class that are predicted as another."""

    label: str
    predicted: str
    count: int
    total: int  # samples of the class


@dataclass(frozen=True)
class Suggestion:
    """A class that more drawings would help, and why."""

    label: str
    kind: str  # unknown, confused, untested or few_drawings
    message: str


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy on the other samples, over random choices of samples to learn from."""

    samples_per_class: int  # 0: from fonts alone
    accuracy: float  # mean
    low: float  # lowest
    high: float  # highest


@dataclass(frozen=True)
class Diagnostics:
    """How well a training set was learned; everything is measured on left-out samples."""

    accuracy: stats.Rate | None
    confusions: tuple[Confusion, ...]  # most frequent first
    suggestions: tuple[Suggestion, ...]  # most urgent first
    learning_curve: tuple[CurvePoint, ...]
    untested: tuple[str, ...]  # classes without samples


def diagnose(fitted: Fitted) -> Diagnostics:
    """Return accuracy, confusions, a learning curve, and which class needs drawings."""
    training_set = fitted.training_set
    labels, classes = training_set.samples.labels, training_set.classes
    predicted = fitted.loo_logits.argmax(axis=1)
    wrong = fitted.counted & (predicted != labels)
    errors = Counter(sorted(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True)))
    counts = training_set.counts.tolist()
    unknown = [name in fitted.unknown_classes for name in classes]
    return Diagnostics(
        accuracy=fitted.accuracy,
        confusions=tuple(
            Confusion(classes[label], classes[other], times, counts[label])
            for (label, other), times in errors.most_common()
        ),
        suggestions=tuple(suggest(classes, counts, errors, unknown).values()),
        learning_curve=learning_curve(fitted.backbone, training_set),
        untested=tuple(name for name, n in zip(classes, counts, strict=True) if not n),
    )


def learning_curve(backbone: Recogniser, training_set: TrainingSet) -> tuple[CurvePoint, ...]:
    """Return accuracy by samples per class, for the sizes that at least half of the classes allow.

    Learns from that many random samples of each class and predicts the rest, `CURVE_DRAWS` times.
    """
    samples, counts, features = training_set.samples, training_set.counts, training_set.features
    labels, positions = samples.labels, samples.positions
    fonts = font_prototypes(backbone, training_set.classes)
    random = np.random.RandomState(0)
    points = []
    for size in (0, *CURVE_SIZES):
        tested = np.flatnonzero((counts > size) & (fonts.any(axis=1) if not size else True))
        if len(tested) < 2 or len(tested) < (counts > 0).sum() / 2:
            continue
        accuracies = []
        for _ in range(CURVE_DRAWS if size else 1):
            order = random.permutation(len(labels))
            rank = _rank_within_class(labels[order])
            chosen, rest = order[rank < size], order[rank >= size]
            rest = rest[np.isin(labels[rest], tested)]
            ridge = prototypes.ridge(features[chosen], labels[chosen], fonts, PENALTY, SCALE)
            logits = SCALE * (features[rest] @ ridge.prototypes.T)
            prior, _ = fit_position_prior(
                positions[chosen], labels[chosen], len(counts), ridge.loo_logits
            )
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
) -> dict[int, Suggestion]:
    """Return the classes that drawings would help, by label, most urgent first.

    Args:
        names: of the K classes.
        counts: drawings of each class.
        errors: how many drawings of one label are predicted as another.
        unknown: whether neither fonts nor drawings show a class.
    """
    ranked: list[tuple[float, int, Suggestion]] = []
    wrong: list[Counter[int]] = [Counter() for _ in names]
    for (label, other), n in errors.items():
        wrong[label][other] = n
    for label, (name, n) in enumerate(zip(names, counts, strict=True)):
        if unknown[label]:
            one = Suggestion(name, "unknown", "No font has it. Draw it.")
        elif wrong[label]:
            ((other, times),) = wrong[label].most_common(1)
            one = Suggestion(name, "confused", f"{times} of {n} mistaken for {names[other]!r}")
        elif not n:
            message = "Known from fonts. Draw it once to check your hand."
            one = Suggestion(name, "untested", message)
        elif n < ENOUGH:
            message = f"{count(n, 'drawing')}, {ENOUGH - n} more help"
            one = Suggestion(name, "few_drawings", message)
        else:
            continue
        # The error rate, smoothed by one hit and one miss, and what one drawing more changes.
        gain = (wrong[label].total() + 1) / (n + 2) / (n + 1) ** 0.5 + unknown[label]
        ranked.append((-gain, label, one))
    return {label: one for _, label, one in sorted(ranked, key=lambda item: item[:2])}


def _rank_within_class(labels: Labels) -> Labels:
    """Return how many equal labels precede each label."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order], side="left")
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - starts
    return rank
