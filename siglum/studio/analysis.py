"""What takes longer than a drawing may: what to draw next, the learning curve, reading by others.

Shapes: N taught drawings, K classes.
"""

import threading
import time
import traceback
from collections.abc import Mapping

import numpy as np

from siglum import stats
from siglum.recogniser import lesson as lessons
from siglum.recogniser import teach as teaching
from siglum.recogniser.findings import findings
from siglum.recogniser.head import logits_of
from siglum.recogniser.predict import Recogniser
from siglum.studio.snapshot import Analysis, Snapshot
from siglum.studio.studio import Studio

REST = 4.0  # times as long as it worked, so that who draws has most of the machine
LEAST_REST = 0.2  # seconds
EASY = 0.05  # seconds: after longer work the rest grows by its square, as where many people draw
SILENT = "nothing is known of it yet."


def analysed(backbone: Recogniser, now: Snapshot) -> Analysis:
    """Find out what there is to say of a snapshot."""
    advice = [(name, SILENT) for name in now.state.classes if name not in now.labels]
    if now.lesson is None or now.taught is None:
        return Analysis(now.at, tuple(advice))
    said = findings(backbone, now.lesson, now.taught)
    advice += [(one.name, one.why) for one in said.advice]
    return Analysis(now.at, tuple(advice), said.curve, by_writer(backbone, now))


def by_writer(backbone: Recogniser, now: Snapshot) -> Mapping[str, stats.Rate]:
    """Return how well each writer's drawings are read by what the others taught.

    Nobody is judged by signs that nobody else drew and no print shows. Drawings of which nobody
    said whose they are may be anybody's own: they teach nobody here, and are not judged.
    """
    assert now.lesson is not None
    lesson = now.lesson
    writers = np.array([now.state.drawings[name].writer for name in now.rows])
    found: dict[str, stats.Rate] = {}
    names = [name for name in dict.fromkeys(writers.tolist()) if name]
    if len(names) < 2:
        return found
    for name in names:
        own = np.flatnonzero(writers == name)
        out = np.flatnonzero((writers == name) | (writers == ""))
        taught = teaching.learn(backbone, lessons.removed(lesson, out.tolist()))
        head = taught.recogniser.bundle.head
        assert head is not None
        samples = lesson.samples
        logits = logits_of(lesson.features[own] + head.centre, head, samples.places[own])
        logits = logits[:, : len(lesson.classes)]
        silent = np.isin(np.array(lesson.classes), np.array(taught.unknown))
        logits[:, silent] = -np.inf
        labels = samples.labels[own]
        judged = ~silent[labels]
        if judged.any():
            right = logits[judged].argmax(axis=1) == labels[judged]
            found[name] = stats.wilson(int(right.sum()), len(right))
    return found


def watch(studio: Studio, closing: threading.Event) -> None:
    """Analyse each new snapshot, not all of them where they come quickly, until closing.

    A snapshot that cannot be analysed keeps what was found out of an earlier one.
    """
    failed = -1  # the changes that it has seen
    while not closing.is_set():
        with studio.news:
            now = studio.current
            if now.at in (now.analysis.at, failed):
                studio.news.wait(timeout=0.5)
                continue
        begun = time.monotonic()
        try:
            studio.analysed(analysed(studio.backbone, now))
        except Exception:  # a bug, which the next change may not meet
            failed = now.at
            traceback.print_exc()
        took = time.monotonic() - begun
        closing.wait(max(LEAST_REST, REST * took, took**2 / EASY))
