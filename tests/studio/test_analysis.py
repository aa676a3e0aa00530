"""Reading by what others taught, worked out by teaching the others alone."""

import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from visiting import drawing_of

from siglum.images import strokes
from siglum.recogniser import lesson as lessons
from siglum.recogniser import teach as teaching
from siglum.studio.analysis import SILENT, analysed, by_writer, watch
from siglum.studio.changes import AddClass
from siglum.studio.snapshot import reading_of
from siglum.studio.studio import Studio

KINDS = ("ring", "cross", "stroke")


def drawn(folder: Path, backbone, *writers: str) -> Studio:
    studio = Studio(folder, backbone)
    for kind in KINDS:
        studio.record(AddClass(kind))
    for number, writer in enumerate(writers):
        for seed in range(2):
            for kind in KINDS:
                drawing = strokes.parse(drawing_of(kind, 10 * number + seed))
                studio.keep(drawing, kind, writer, "taught")
    studio.learned()
    return studio


def test_a_writer_is_read_by_what_the_others_taught(tmp_path: Path, backbone) -> None:
    with closing(drawn(tmp_path / "a", backbone, "Ann", "Bob", "Eve")) as studio:
        studio.draw(strokes.parse(drawing_of("ring", 77)), "cross", "Eve", "taught")
        now = studio.current
        found = by_writer(backbone, now)

    assert now.lesson is not None
    for writer in ("Ann", "Bob", "Eve"):
        own = [
            row for row, name in enumerate(now.rows) if now.state.drawings[name].writer == writer
        ]
        others = teaching.learn(backbone, lessons.removed(now.lesson, own)).recogniser
        ink, labels = now.lesson.samples.ink[own], now.lesson.samples.labels[own]
        probs = others.read(ink[:, None], now.lesson.samples.places[own]).probs
        hits = int((probs.argmax(axis=1) == labels).sum())
        assert (found[writer].hits, found[writer].total) == (hits, len(own))
    assert found["Eve"].hits < found["Eve"].total


def test_one_writer_alone_is_not_judged(tmp_path: Path, backbone) -> None:
    with closing(drawn(tmp_path / "a", backbone, "Ann")) as studio:
        assert by_writer(backbone, studio.current) == {}


def test_nobody_is_judged_by_signs_that_nobody_else_drew(tmp_path: Path, backbone) -> None:
    with closing(drawn(tmp_path / "a", backbone, "Ann", "Bob")) as studio:
        studio.record(AddClass("Ann's"))
        studio.draw(strokes.parse(drawing_of("dot")), "Ann's", "Ann", "taught")
        found = by_writer(backbone, studio.current)

    assert found["Ann"].total == 6


def test_unknown_signs_come_first_in_the_advice(tmp_path: Path, backbone) -> None:
    with closing(Studio(tmp_path / "a", backbone)) as studio:
        for name in ("sign", "a", "b"):
            studio.record(AddClass(name))
        said = analysed(backbone, studio.current)

    assert said.at == studio.current.at
    assert said.advice[0] == ("sign", SILENT)
    assert [name for name, _ in said.advice] == ["sign", "a", "b"]


def test_reading_by_features_is_reading_by_the_network(tmp_path: Path, backbone) -> None:
    with closing(drawn(tmp_path / "a", backbone, "Ann")) as studio:
        now = studio.current
        assert now.taught is not None
        seen = list(now.seen.values())
        kept = reading_of(now.taught.recogniser, seen)
        ink = np.stack([one.ink for one in seen])[:, None]
        again = now.taught.recogniser.read(ink, np.stack([one.place for one in seen]))

    np.testing.assert_allclose(kept.probs, again.probs, atol=1e-5)
    assert (kept.sets == again.sets).all() and (kept.none == again.none).all()


def test_drawings_of_nobody_said_teach_nobody_else(tmp_path: Path, backbone) -> None:
    """They may be the writer's own: Bob is judged as if they were not there."""
    with closing(drawn(tmp_path / "a", backbone, "Ann", "Bob")) as studio:
        without = by_writer(backbone, studio.current)
    with closing(drawn(tmp_path / "b", backbone, "Ann", "Bob", "")) as studio:
        studio.draw(strokes.parse(drawing_of("ring", 77)), "cross", "", "taught")
        found = by_writer(backbone, studio.current)
    with closing(drawn(tmp_path / "c", backbone, "Ann", "")) as studio:
        assert by_writer(backbone, studio.current) == {}

    assert found == without and set(found) == {"Ann", "Bob"}


def test_an_analysis_that_fails_is_not_the_last(
    tmp_path: Path, backbone, capsys: pytest.CaptureFixture[str]
) -> None:
    closing_now = threading.Event()
    with closing(drawn(tmp_path / "a", backbone, "Ann")) as studio:
        now = studio.current
        assert now.lesson is not None
        studio._publish(replace(now, lesson=replace(now.lesson, features=now.lesson.features[:1])))
        watching = threading.Thread(target=watch, args=(studio, closing_now))
        watching.start()
        try:
            said = ""
            deadline = time.monotonic() + 20
            while "Traceback" not in said:
                assert time.monotonic() < deadline
                time.sleep(0.02)
                said += capsys.readouterr().err
            changed = studio.record(AddClass("b"))
            while studio.current.analysis.at != changed.at:
                assert time.monotonic() < deadline and watching.is_alive()
                time.sleep(0.02)
        finally:
            closing_now.set()
            watching.join(10)
