"""Teach: fit prototypes to fonts and drawings, build the bundle, and diagnose the result.

All fits have closed forms on features, so adding a drawing takes milliseconds. The constants were
chosen on one half of the writers and alphabets of the development sets (benchmarks/fewshot.py).
Shapes: N samples, K classes, S shapes in fonts, M background classes, D features of length 1.
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
from siglum.images import charsets
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs, Samples
from siglum.recogniser.calibration import calibrate, log_sum_exp, ood_score
from siglum.recogniser.head import Floats, Head, Labels, Mixture, PositionPrior, student_t, unit
from siglum.recogniser.predict import Input, Recogniser, default_backbone, stack

SCALE = 20.0  # of cosines, as in the backbone's training
PENALTY = 1.0  # samples
SOFTNESS = 1.5  # logits; of the maximum over the vectors of a class
FONT_WEIGHT = 3.0  # drawings; of a font or a prototype, among the vectors of a class
MAX_EXAMPLES = 100  # drawings of a class that are vectors
NUM_REFERENCE = 4
MAX_CLASSES = 12_000
BATCH = 100  # samples at once, so that their logits stay in the processor's cache
MAX_NAMES = 20  # in a title

NUM_BACKGROUND = 500  # characters most similar to the classes, used for rejection
COMMON = ("digits", "latin", "greek", "cyrillic", "kana")  # groups used for rejection, too
SAME = 0.9  # cosine from which a character counts as one of the classes, not as background
MIN_STD = 0.02  # of positions, image heights: nobody writes more steadily
SHRINKAGE = 2.0  # weight of the overall mean in each class's mean position, in samples
GAINS = (0.25, 0.5, 1.0)
MIN_BENEFIT = 0.02  # nats per sample that positions must gain on left-out samples

CURVE_SIZES = (0, 1, 2, 3, 5, 10, 20, 50)  # samples per class along the learning curve
CURVE_DRAWS = 10  # random choices of samples per point
ENOUGH = 3  # drawings of a class, before more are no longer suggested


class Fonts(NamedTuple):
    """The font prototypes of classes."""

    vectors: Floats  # (S, D), each of length 1; 0 for a class that no font has
    labels: Labels  # (S,), in label order

    @property
    def has_font(self) -> NDArray[np.bool_]:
        """Whether a font has the class: (K,)."""
        return np.bincount(self.labels, self.vectors.any(axis=1)) > 0


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
    names: Sequence[str],
    samples: Samples | None = None,
    features: Floats | None = None,
    outputs: Mapping[str, str] | None = None,
) -> Fitted:
    """Fit a recogniser to font prototypes and samples; their features save time.

    The name "σ|ς" is a class σ with two shapes. Outputs are by class.
    """
    if not 2 <= len(names) <= MAX_CLASSES:
        raise ConfigError(f"classes must be 2 to {MAX_CLASSES:,}, got {len(names):,}.")
    if samples is None:
        ink = np.empty((0, *[backbone.preprocess.size] * 2), np.uint8)
        samples = Samples(ink, np.empty(0, np.int64), np.empty((0, 3), np.float32))
    features = backbone.features(samples.ink) if features is None else features
    shapes = [charsets.shapes(name) for name in names]
    classes, fonts = tuple(first for first, *_ in shapes), font_prototypes(backbone, shapes)
    head, prototypes, loo_logits, nearest = _fit_head(backbone, fonts, features, *samples[1:])
    background = background_classes(backbone, prototypes)
    head = replace(
        head,
        vectors=np.concatenate([head.vectors, background]).astype(np.float16),
        scale=np.append(head.scale, np.full(len(background), SCALE, np.float32)),
        bias=np.append(head.bias, np.zeros(len(background), np.float32)),
    )
    logits = np.concatenate([loo_logits, SCALE * (features @ background.T)], axis=1)
    scores = ood_score(logits, len(classes), nearest)
    texts = {name: (outputs or {}).get(name, "") for name in classes}
    bundle = replace(
        backbone.bundle,
        classes=classes,
        calibration=calibrate(loo_logits, samples.labels, scores, backbone.bundle.calibration),
        card=Card(kind="taught", network="backbone", parameters=backbone.bundle.card.parameters),
        head=head,
        samples=samples if len(samples.labels) else None,
        outputs={name: text for name, text in texts.items() if text not in ("", name)},
        shapes={listed[0]: listed for listed in shapes if len(listed) > 1},
    )
    recogniser = Recogniser(bundle, backbone.network)
    exists = fonts.has_font | np.isin(range(len(classes)), samples.labels)
    unknown = tuple(name for name, one in zip(classes, exists, strict=True) if not one)
    recogniser.fitted = Fitted(recogniser, backbone, samples, features, loo_logits, unknown)
    return recogniser.fitted


def _fit_head(
    backbone: Recogniser, fonts: Fonts, features: Floats, labels: Labels, positions: Floats
) -> tuple[Head, Floats, Floats, Floats]:
    """Fit a head without background classes.

    The vectors of a class are its prototypes, one per shape and fitted to the drawings nearest to
    it, and its fonts and drawings themselves, so that one far from the mean is recognised again.
    Returns the head, the prototypes (S, D), the leave-one-out logits (N, K), and the similarity of
    each drawing to the nearest vector when it is left out (N,).
    """
    similarity = np.where(fonts.labels == labels[:, None], features @ fonts.vectors.T, -np.inf)
    nearest = similarity.argmax(axis=1)
    prototypes, loo = fit_prototypes(features, nearest, fonts.vectors)
    num_classes, num_shapes = len(fonts.has_font), len(prototypes)
    counts = np.bincount(labels, minlength=num_classes)
    grouped = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    even = [np.linspace(0, n - 1, min(n, MAX_EXAMPLES)).astype(int) for n in counts.tolist()]
    rows = np.concatenate([own[some] for own, some in zip(grouped, even, strict=True)])
    sums = np.zeros((num_classes, features.shape[1]), np.float32)
    np.add.at(sums, labels, features)
    means = unit(sums)
    copied = np.flatnonzero((counts[fonts.labels] > 0) & fonts.vectors.any(axis=1))
    likeness = (fonts.vectors[copied] @ means[counts > 0].T).max(axis=1, initial=0)
    own_likeness = (fonts.vectors[copied] * means[fonts.labels[copied]]).sum(axis=1)
    # A font that looks much more like the drawings of another class stays out.
    copied = copied[own_likeness > likeness / 2]
    owners = np.concatenate([fonts.labels, fonts.labels[copied], labels[rows]])
    shares = FONT_WEIGHT / np.bincount(fonts.labels)[fonts.labels]
    weights = np.concatenate([shares, np.full(len(copied), FONT_WEIGHT), np.ones(len(rows))])
    totals = np.bincount(owners, weights)
    order = np.argsort(owners, kind="stable")
    vectors = np.concatenate([prototypes, fonts.vectors[copied], features[rows]])[order]
    bias = (SOFTNESS * np.log(weights / totals[owners])).astype(np.float32)[order]
    mixture = Mixture(np.bincount(owners), SOFTNESS)
    place = np.argsort(order)  # of each vector
    own = np.full(len(labels), -1)
    own[rows] = place[len(owners) - len(rows) :]
    loo_logits = np.empty((len(labels), num_classes), np.float32)
    similarity_of_nearest = np.empty(len(labels), np.float32)
    for start in range(0, len(labels), BATCH):
        part = slice(start, start + BATCH)
        logits = SCALE * (features[part] @ vectors.T)
        logits[:, place[:num_shapes]] = loo[part]
        logits[np.flatnonzero(own[part] >= 0), own[part][own[part] >= 0]] = -np.inf
        similarity_of_nearest[part] = logits.max(axis=1)
        logits += bias
        loo_logits[part] = mixture.pool(logits)
    # Without the sample, the others of its class weigh more.
    rest = totals[labels] - (own >= 0)
    loo_logits[np.arange(len(labels)), labels] += SOFTNESS * np.log(totals[labels] / rest)
    prior, loo_logits = fit_position_prior(positions, labels, loo_logits)
    head = Head(
        vectors=vectors,
        scale=np.full(len(vectors), SCALE, np.float32),
        bias=bias,
        centre=backbone.head.centre,
        position=prior,
        mixture=mixture if len(vectors) > num_classes else None,
    )
    return head, prototypes, loo_logits, similarity_of_nearest


def font_prototypes(backbone: Recogniser, shapes: Sequence[Sequence[str]]) -> Fonts:
    """Return the font prototypes of classes, of each of the characters that show one."""
    index = {name: label for label, name in enumerate(backbone.classes)}
    listed = [[index[c] for c in characters if c in index] or [-1] for characters in shapes]
    rows, labels = np.concatenate(listed), np.repeat(range(len(shapes)), [*map(len, listed)])
    vectors = np.where(rows[:, None] < 0, np.float32(0), backbone.head.unit_vectors[rows])
    return Fonts(vectors, labels)


def background_classes(backbone: Recogniser, vectors: Floats) -> Floats:
    """Return common characters, and those most similar to the classes' `vectors`: (M, D).

    Characters that are the same as a class are left out.
    """
    characters, groups = backbone.head.unit_vectors, charsets.groups()
    similarity = (characters @ vectors.T).max(axis=1)
    similarity[similarity >= SAME] = -np.inf
    common = {character for name in COMMON for character in groups[name]}
    chosen = np.array([name in common for name in backbone.classes])
    chosen[np.argsort(-similarity, kind="stable")[:NUM_BACKGROUND]] = True
    return np.asarray(characters[chosen & np.isfinite(similarity)])


def fit_prototypes(features: Floats, labels: Labels, fonts: Floats) -> tuple[Floats, Floats]:
    """Fit least squares towards 1 for the own class and 0 for others, shrunk towards the fonts.

    Returns prototypes (K, D), and the logits (N, K) of each sample under a fit without it: -inf at
    the own class if that would have nothing left. Prototypes are scaled to length 1, as those of
    fonts are: classes with samples would otherwise score higher.

    Source: Hastie, Tibshirani, Friedman 2009, "The elements of statistical learning", sections
    3.4.1 and 7.10.1 (equation 7.64: leave-one-out predictions in closed form).
    """
    x = features.astype(np.float64)
    prior = fonts.astype(np.float64)
    targets = np.zeros((len(x), len(prior)))
    targets[np.arange(len(x)), labels] = 1
    gram = x.T @ x + PENALTY * np.eye(x.shape[1])
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
    return unit(vectors), (SCALE * loo_logits).astype(np.float32)


def fit_position_prior(
    positions: Floats, labels: Labels, loo_logits: Floats
) -> tuple[PositionPrior | None, Floats]:
    """Return the prior, if it helps, and the leave-one-out logits (N, K) with it."""
    num_classes, rows = loo_logits.shape[1], np.arange(len(labels))
    counted = np.isfinite(loo_logits[rows, labels])
    if counted.sum() < 2 * num_classes or not np.isfinite(positions).all():
        return None, loo_logits
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
    added = student_t(offset / std)

    def loss(gain: float) -> float:
        logits = loo_logits[counted] + gain * added[counted]
        log_probs = logits - log_sum_exp(logits)[:, None]
        return stats.negative_log_likelihood(log_probs, labels[counted])

    gain = min(GAINS, key=loss)
    if loss(0.0) - loss(gain) < MIN_BENEFIT:
        return None, loo_logits
    prior = PositionPrior(mean.astype(np.float32), std.astype(np.float32), gain)
    return prior, loo_logits + (gain * added).astype(np.float32)


def add(recogniser: Recogniser, label: str, inputs: Sequence[Input]) -> None:
    """Fit a taught recogniser again, with further samples of a class; see `Recogniser.add`."""
    bundle, fitted = recogniser.bundle, recogniser.fitted
    if fitted is None:
        backbone = default_backbone()
        if bundle.card.kind != "taught" or bundle.model != backbone.bundle.model:
            reason = "It was not taught on Siglum's own backbone. Teach a new one with siglum.teach"
            raise DataError(f"Cannot add drawings to this recogniser. {reason}.")
        fitted = fit(backbone, bundle.names, bundle.samples, outputs=bundle.outputs)
    if not inputs or not all(one.planes.any() for one in inputs):
        problem = "No ink found in the drawings of" if inputs else "No drawings given for"
        raise DataError(f"{problem} {label!r}.")
    planes, positions = stack(inputs)
    names, name = bundle.names, charsets.shapes(label)[0]
    if name not in bundle.classes:
        names.append(label)
        charsets.check_shapes(names)
    index = [*bundle.classes, name].index(name)
    new = Samples(planes[:, 0], np.full(len(inputs), index), positions)
    pairs: Any = zip(fitted.samples, new, strict=True)
    features = np.concatenate([fitted.features, fitted.backbone.features(new.ink)])
    samples = Samples(*map(np.concatenate, pairs))
    recogniser.fitted = fit(fitted.backbone, names, samples, features, bundle.outputs)
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
    about = {
        "title": title or f"{len(classes)} signs: {' '.join(classes[:MAX_NAMES])}{more}",
        "command": command,
        "data": {"samples": len(ink)},
        "measured": {} if accuracy is None else {"leave-one-out": accuracy},
        "reference": "samples" if len(ink) else "font characters",
        "versions": {name: version(name) for name in ("siglum", "onnxruntime", "numpy")},
    }
    reference = ReferenceOutputs(images, recogniser.logits(images)[:, : len(classes)])
    return replace(bundle, card=bundle.card.model_copy(update=about), reference=reference)


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
    bundle = fitted.recogniser.bundle
    fonts = font_prototypes(fitted.backbone, [charsets.shapes(name) for name in bundle.names])
    members = [np.flatnonzero(labels == label) for label in range(len(bundle.classes))]
    random = np.random.RandomState(0)
    points = []
    for size in CURVE_SIZES:
        allowed = range(len(members)) if size else np.flatnonzero(fonts.has_font)
        tested = [members[label] for label in allowed if len(members[label]) > size]
        if len(tested) < max(2, sum(len(rows) > 0 for rows in members) / 2):
            continue  # fewer than half of the classes allow this size
        accuracies = []
        for _ in range(CURVE_DRAWS if size else 1):
            chosen = np.concatenate([random.permutation(rows)[:size] for rows in members])
            rest = np.setdiff1d(np.concatenate(tested), chosen)
            some = features[chosen], labels[chosen], positions[chosen]
            head, *_ = _fit_head(fitted.backbone, fonts, *some)
            logits = head.logits(features[rest], positions[rest])
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
    suggestions = []
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
        # The error rate, smoothed by one hit and one miss, and what one drawing more changes.
        gain = (wrong.total() + 1) / (n + 2) / (n + 1) ** 0.5 + unknown[label]
        suggestions.append((-gain, label, {"kind": kind, "message": message}))
    return {label: suggestion for _, label, suggestion in sorted(suggestions)}
