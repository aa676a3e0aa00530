"""From a lesson to a recogniser: a vector a class, and how sure it may be.

Print speaks alone where nothing was drawn; samples outweigh it as they come. All of it is closed
forms on features, so that a drawing more costs milliseconds. The settings here were chosen on one
half of the writers and alphabets of the development sets, see benchmarks/fewshot.py.
Shapes: N samples, K classes, D features, M outsiders.
"""

from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.recogniser import backbone as backbones
from siglum.recogniser import class_vectors, decide, place
from siglum.recogniser.bundle import Bundle, Card, Golden, Share
from siglum.recogniser.class_vectors import unit
from siglum.recogniser.lesson import Lesson
from siglum.recogniser.predict import Recogniser, opened

SCALE = 20.0  # of cosines, as in the backbone's training
PENALTY = 1.0  # samples' weight that keeps vectors near print
OUTSIDERS = 1000  # other characters, those most like the classes
GOLDEN = 4


@dataclass(frozen=True, eq=False)
class Taught:
    """A recogniser that was taught, and what it says of samples that it had not seen."""

    recogniser: Recogniser
    left_out: NDArray[np.float32]  # (N, K) logits; -inf at the own class where nothing else spoke
    unknown: tuple[str, ...]  # classes of which there is neither print nor sample

    @property
    def right(self) -> stats.Rate | None:
        """How many samples are read right, each left out of its own fit.

        A class's only sample is not counted where there is no print of it: without it nothing of
        the class would be known. None where nothing can be counted.
        """
        samples = self.recogniser.bundle.samples
        if samples is None:
            return None
        own = self.left_out[np.arange(len(samples.labels)), samples.labels]
        hits = (self.left_out.argmax(axis=1) == samples.labels)[np.isfinite(own)]
        return stats.wilson(int(hits.sum()), len(hits)) if len(hits) else None


def learn(backbone: Recogniser, lesson: Lesson) -> Taught:
    """Teach the classes of a lesson by print and its samples."""
    count = len(lesson.classes)
    labels = lesson.samples.labels
    prints = backbones.prints(backbone, lesson.classes)
    fitted = class_vectors.ridge(lesson.features, labels, prints, PENALTY, SCALE)
    vectors = fitted.head.vectors
    others = backbones.outsiders(backbone, unit(vectors), OUTSIDERS)
    whereabouts, added = place.learned(lesson.samples.places, labels, count, fitted.left_out)
    left_out = fitted.left_out + added
    known = backbone.bundle.head
    assert known is not None
    rows = len(others) + count
    head = replace(
        fitted.head,
        vectors=np.concatenate([vectors, others]).astype(np.float16),  # as the bundle keeps them
        scale=np.full(rows, SCALE, np.float32),
        bias=np.zeros(rows, np.float32),
        centre=known.centre,
        whereabouts=whereabouts,
    )
    beside = SCALE * (lesson.features @ others.T)
    if len(others):
        beside = beside.max(axis=1, keepdims=True)  # of outsiders, the nearest alone counts
    calibration = decide.calibrate(
        np.concatenate([left_out, beside], axis=1), labels, count, backbone.bundle.calibration
    )
    bundle = Bundle(
        model=backbone.bundle.model,
        preprocess=backbone.bundle.preprocess,
        classes=lesson.classes,
        calibration=calibration,
        card=Card(network="backbone", parameters=backbone.bundle.card.parameters),
        golden=backbone.bundle.golden,
        head=head,
        samples=lesson.samples if len(lesson) else None,
    )
    silent = ~(prints.any(axis=1) | (lesson.counts > 0))
    unknown = tuple(name for name, is_so in zip(lesson.classes, silent, strict=True) if is_so)
    return Taught(Recogniser(bundle, backbone.network), left_out, unknown)


def finished(taught: Taught, title: str, command: str) -> Bundle:
    """Return the bundle to be saved: with its card, and with golden pictures of its own.

    Args:
        title: what it is, in words.
        command: that made it.
    """
    recogniser, right = taught.recogniser, taught.right
    bundle = recogniser.bundle
    samples = bundle.samples
    images = bundle.golden.images[:GOLDEN]
    if samples is not None:
        spread = np.linspace(0, len(samples.ink) - 1, min(GOLDEN, len(samples.ink))).astype(int)
        images = samples.ink[spread][:, None]
    logits = recogniser.logits(images)[:, : len(bundle.classes)]
    measured = {}
    if right is not None:
        share = Share(hits=right.hits, total=right.total, low=right.low, high=right.high)
        measured["left out one by one"] = share
    card = bundle.card.model_copy(
        update={
            "title": title,
            "command": command,
            "data": {"samples": 0 if samples is None else len(samples.labels)},
            "measured": measured,
            "golden": "samples" if samples is not None else "print",
            "versions": {name: version(name) for name in ("siglum", "onnxruntime", "numpy")},
        }
    )
    made = replace(bundle, card=card, golden=Golden(images, logits))
    opened(made, title)
    return made
