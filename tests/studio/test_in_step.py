"""Several pages on one Studio: none undoes, keeps or hides what another did not mean."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from visiting import Client, Json, drawing_of, serving

from siglum.recogniser import teach as teaching
from siglum.studio import server
from siglum.studio.app import TURNS
from siglum.studio.studio import Studio

KINDS = ("ring", "cross", "stroke")


def taught(client: Client, count: int = 2) -> dict[str, str]:
    """Teach three signs by so many drawings each; return the classes' ids by kind."""
    ids = dict(zip(KINDS, client.add(*KINDS), strict=True))
    for seed in range(count):
        for kind, id_ in ids.items():
            client.teach(id_, drawing_of(kind, seed))
    return ids


def counts(state: Json) -> dict[str, tuple[int, int]]:
    """How many drawings there are of each sign, taught and quiz."""
    return {one["name"]: (one["taught"], one["quiz"]) for one in state["classes"]}


@contextmanager
def opened(folder: Path, backbone) -> Iterator[Client]:
    with (
        closing(Studio(folder, backbone)) as studio,
        serving(studio, server.listen("127.0.0.1", 0)) as port,
    ):
        yield Client(port)


def test_a_drawing_that_was_kept_is_kept_whatever_its_sign_is_called_now(client: Client) -> None:
    """Its first answer may have been lost, and another page have renamed the sign meanwhile."""
    (id_,) = client.add("a")
    sent = {"class": id_, "drawing": drawing_of("ring"), "key": "0123456789abcdef"}
    client.post("/api/samples", sent)
    client.post(f"/api/classes/{id_}/rename", {"name": "b"})

    assert client.post("/api/samples", sent)["id"] == "0123456789abcdef"
    assert counts(client.get("/api/state")) == {"b": (1, 0)}


def test_only_what_was_shown_is_undone(client: Client) -> None:
    (id_,) = client.add("a")
    shown = client.teach(id_, drawing_of("ring"))["state"]["undo"]
    renamed = client.post(f"/api/classes/{id_}/rename", {"name": "b"})["state"]
    status, answer = client.ask("/api/undo", {"line": shown["line"]})

    assert status == 409 and counts(client.get("/api/state")) == counts(renamed) == {"b": (1, 0)}
    assert answer["error"] == (
        "undo must be of the last change, line 3, got line 2: there is news since. Look at it, "
        "and ask again."
    )
    undone = client.post("/api/undo", {"line": 3})["state"]
    assert counts(undone) == {"a": (1, 0)} and undone["undo"] == shown
    assert undone["redo"] == {"line": 3, "said": "renamed \u2068a\u2069 to \u2068b\u2069"}
    assert client.ask("/api/redo", {"line": 2})[0] == 409
    assert counts(client.post("/api/redo", {"line": 3})["state"]) == {"b": (1, 0)}


def test_many_drawings_are_one_change_and_one_undo(client: Client, studio: Studio) -> None:
    ids = taught(client, 3)
    before = client.get("/api/samples")
    chosen = [one["id"] for one in before if one["class"] != ids["ring"]]
    lines = len(studio.ledger.lines)
    moved = client.post("/api/samples/move", {"samples": chosen, "class": ids["ring"]})["state"]

    assert [one["taught"] for one in moved["classes"]] == [9, 0, 0]
    assert len(studio.ledger.lines) == lines + 1
    gone = client.post("/api/samples/delete", {"samples": chosen})["state"]
    assert [one["taught"] for one in gone["classes"]] == [3, 0, 0]
    assert len(studio.ledger.lines) == lines + 2
    for change in (gone, moved):
        client.post("/api/undo", {"line": change["undo"]["line"]})
    assert client.get("/api/samples") == before


def test_where_one_drawing_is_gone_none_is_moved(client: Client) -> None:
    ids = taught(client)
    names = [one["id"] for one in client.get("/api/samples")]
    client.post("/api/samples/delete", {"samples": names[:1]})

    for path, more in (("delete", {}), ("move", {"class": ids["cross"]})):
        assert client.ask(f"/api/samples/{path}", {"samples": names, **more})[0] == 404
    left = {"ring": (1, 0), "cross": (2, 0), "stroke": (2, 0)}
    assert counts(client.get("/api/state")) == left


def test_a_drawing_for_another_folder_is_not_kept(tmp_path: Path, backbone) -> None:
    """A page with unsent drawings may find another Studio at its port."""
    folders = []
    for name in ("one", "two", "one"):
        with opened(tmp_path / name, backbone) as client:
            folders.append(client.get("/api/state")["folder"])
            (id_,) = client.add("a")
            sample = {"class": id_, "drawing": drawing_of("ring"), "folder": folders[0]}
            status, _ = client.ask("/api/samples", sample)
            count = client.get("/api/state")["classes"][0]["taught"]

            assert (status, count) == ((409, 0) if name == "two" else (200, len(folders) // 2 + 1))
    assert folders[0] == folders[2] != folders[1]


def test_who_adds_a_sign_that_is_there_gets_it(client: Client, studio: Studio) -> None:
    """Thirty add the same sign at once, by the character or by its name."""
    names = ["α", "greek small letter alpha", "GREEK SMALL LETTER ALPHA"] * 10
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda name: client.ask("/api/classes", {"name": name}), names))

    assert {status for status, _ in answers} == {200}
    assert len({answer["id"] for _, answer in answers}) == 1
    for _, answer in answers:
        assert [one["name"] for one in answer["state"]["classes"]] == ["α"]
    assert len(studio.ledger.lines) == 1


def test_a_drawing_for_the_quiz_teaches_nothing(
    client: Client, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = taught(client)
    while not client.get("/api/state")["analysed"]:
        time.sleep(0.02)
    learned, learn = [], teaching.learn

    def counting(backbone, lesson):
        learned.append(len(lesson))
        return learn(backbone, lesson)

    monkeypatch.setattr(teaching, "learn", counting)
    state = client.teach(ids["ring"], drawing_of("ring", 9), part="quiz")["state"]
    moved = [one["id"] for one in client.get("/api/samples?part=quiz")]
    client.post("/api/samples/move", {"samples": moved, "class": ids["cross"]})
    time.sleep(0.5)  # an analysis would learn, too

    assert learned == [] and state["analysed"] and state["classes"][0]["quiz"] == 1
    assert client.get("/api/state")["classes"][1]["quiz"] == 1
    client.teach(ids["ring"], drawing_of("ring", 9))
    assert learned[0] == 7


def test_a_quiz_of_a_sign_that_is_known_no_more_is_not_counted(client: Client) -> None:
    ids = taught(client)
    for kind, id_ in ids.items():
        client.teach(id_, drawing_of(kind, 30), part="quiz")
    mine = [one["id"] for one in client.get(f"/api/samples?class={ids['ring']}&part=taught")]
    state = client.post("/api/samples/delete", {"samples": mine})["state"]
    late = client.teach(ids["ring"], drawing_of("ring", 31), part="quiz")

    assert state["quiz"]["right"]["total"] == 2 and state["quiz"]["confusions"] == []
    assert [one["judged"] for one in state["classes"]] == [
        {"taught": count, "quiz": quiz} for count, quiz in ((0, 0), (2, 1), (2, 1))
    ]
    assert [one["quiz"] for one in state["classes"]] == [1, 1, 1]
    assert late["read"] is None and late["right"] is None
    assert client.get("/api/samples?wrong=true") == []


def test_what_everybody_is_told_is_made_once(client: Client, studio: Studio) -> None:
    client.add("a", "b")
    now = studio.current

    assert studio.told(now) is studio.told(now)
    client.add("c")
    assert '"name":"c"' in studio.told(studio.current)
    assert client.get("/api/state")["version"] == studio.current.version


def test_people_who_wait_to_change_hold_up_no_reading(client: Client, studio: Studio) -> None:
    (id_,) = client.add("a")
    people = [
        threading.Thread(target=client.teach, args=(id_, drawing_of("ring", seed)))
        for seed in range(2 * TURNS["changing"])
    ]
    with studio._learning:  # somebody is learning
        for person in people:
            person.start()
        while len(studio.ledger.state.drawings) < TURNS["changing"]:
            time.sleep(0.01)
        for _ in range(3):
            assert client.get("/api/state")["classes"][0]["taught"] == 0
            assert client.post("/api/recognise", {"drawing": drawing_of("ring")})
        assert not studio.current.state.drawings
    for person in people:
        person.join()

    assert client.get("/api/state")["classes"][0]["taught"] == len(people)
