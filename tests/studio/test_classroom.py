"""A teacher and pupils at one Studio: who may do what, and what the teacher sees."""

import csv
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.routing import Route
from studio_client import Client, Json, draw, serving

from siglum.studio import routes
from siglum.studio.app import listen
from siglum.studio.snapshot import Studio

NOBODY = "0123456789abcdef"
FOR_PUPILS = {  # all other requests are the teacher's
    *("GET /api/state", "GET /api/events", "GET /api/drawings", "GET /api/drawings/{drawing}.png"),
    *("GET /api/find/name", "GET /api/find/groups", "POST /api/find", "POST /api/find/image"),
    *("POST /api/predict", "POST /api/predict/image", "POST /api/test/next", "POST /api/classes"),
    *("POST /api/drawings", "POST /api/drawings/image", "POST /api/drawings/move"),
    *("POST /api/undo", "POST /api/redo", "POST /api/classroom/join"),
}


@dataclass
class Room:
    """A Studio that others can reach."""

    port: int
    token: str

    def enter(self, path: str, cookie: str = "") -> Client:
        """Open a link in a new browser, or in one that has a cookie."""
        connection = Client(self.port, cookie).connect(path)
        with closing(connection), connection.getresponse() as answer:
            assert answer.status == 200, answer.read()
            return Client(self.port, (answer.headers["set-cookie"] or cookie).partition(";")[0])

    @property
    def teacher(self) -> Client:
        return self.enter(f"/?token={self.token}")

    @property
    def link(self) -> str:
        return "/j/" + self.teacher.get("/api/classroom")["link"].rpartition("/")[2]

    def pupil(self, name: str) -> Client:
        """A pupil who has joined."""
        client = self.enter(self.link)
        client.post("/api/classroom/join", {"name": name})
        return client


@pytest.fixture
def room(studio: Studio) -> Iterator[Room]:
    address = listen("0.0.0.0", 0)
    with serving(studio, address) as port:
        yield Room(port, str(address.token))


def rules(**changes: object) -> Json:
    return {"paused": False, "may_add": False, "task": None} | changes


def people(teacher: Client) -> dict[str, Json]:
    return {one["name"]: one for one in teacher.get("/api/classroom")["pupils"]}


def test_25_pupils_draw_at_once_and_the_teacher_sees_who_drew_what(room: Room) -> None:
    teacher, link = room.teacher, room.link
    ids = teacher.teach(3)

    def take_part(number: int) -> None:
        pupil = room.enter(link)
        joined = pupil.post("/api/classroom/join", {"name": f"Pupil {number}"})["state"]
        assert joined["classroom"]["name"] == f"Pupil {number}"
        for seed, kind in enumerate(ids):
            pupil.draw(ids[kind], draw(kind, 10 * number + seed), author="somebody else")
        event = pupil.get("/api/state")["undo"]["event"]
        state = pupil.post("/api/undo", {"event": event})["state"]
        assert [one["train"] for one in state["authors"]] == [2]  # how others do, it does not say
        assert sum(one["own"] for one in pupil.get("/api/drawings")) == 2

    with ThreadPoolExecutor(25) as pool:
        for done in [pool.submit(take_part, number) for number in range(25)]:
            done.result()
    odd = room.pupil("=1+1")
    wrong = odd.draw(ids["cross"], draw("ring"))["id"]
    table = people(teacher)

    assert set(table) == {*(f"Pupil {number}" for number in range(25)), "=1+1"}
    assert all(one["joined"] and one["present"] for one in table.values())
    assert table["Pupil 7"]["classes"] == {ids["ring"]: 1, ids["cross"]: 1}
    assert table["Pupil 7"]["accuracy"]["total"] == 2 and table["Pupil 7"]["suspicious"] == []
    assert table["=1+1"]["suspicious"] == [wrong]
    text = teacher.get("/api/classroom/pupils.csv").decode("utf-8-sig")
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows["Pupil 7"]["ring"] == "1" and rows["Pupil 7"]["of"] == "2"
    assert rows["'=1+1"]["suspicious"] == "1"  # which no spreadsheet runs


def test_only_these_requests_are_for_pupils(room: Room) -> None:
    """A new route is the teacher's until it is listed."""
    pupil, allowed = room.pupil("Mia"), set()
    for route in routes.router.routes:
        assert isinstance(route, Route) and route.methods
        (method,) = route.methods - {"HEAD"}
        if route.path == "/api/events":
            allowed.add(f"{method} {route.path}")
            continue
        path = route.path.replace("{class}", NOBODY).replace("{drawing}", NOBODY)
        status, answer = pupil.request(path, {} if method == "POST" else None)
        if not (status == 403 and "teacher" in answer["detail"]):
            allowed.add(f"{method} {route.path}")
    assert allowed == FOR_PUPILS
    for path in ("/docs", "/nowhere", "/api/drawings.zip", "/api/classroom"):
        assert pupil.request(path)[0] == 403


def test_a_pupil_changes_only_their_own_drawings(room: Room) -> None:
    teacher, mia, ben = room.teacher, room.pupil("Mia"), room.pupil("Ben")
    first, second = teacher.add("a", "b")
    own, other = (one.draw(first, draw("ring"))["id"] for one in (mia, ben))
    photo = {"drawings": [own, other], "class": None}

    assert mia.refused("/api/drawings/move", photo) == 403
    assert mia.refused("/api/drawings/move", {"drawings": [other], "class": second}) == 403
    event = ben.get("/api/state")["undo"]["event"]
    assert mia.refused("/api/undo", {"event": event}) == 409
    mia.post("/api/drawings/move", {"drawings": [own], "class": second})
    assert {(one["class"], one["author"]) for one in ben.get("/api/drawings")} == {
        (first, "Ben"),
        (second, ""),  # names of others are the teacher's business
    }
    teacher.post("/api/drawings/move", {"drawings": [other], "class": None})
    assert [one["author"] for one in teacher.get("/api/drawings")] == ["Mia"]


def test_no_spreadsheet_runs_a_name(room: Room) -> None:
    room.teacher.add("=1+1", "＝1+1", "a;=1+1", "-")
    room.pupil("Mia; @SUM(1)")
    text = room.teacher.get("/api/classroom/pupils.csv").decode("utf-8-sig")
    names, (first, *_) = csv.reader(io.StringIO(text))
    assert [first, *names[7:]] == ["Mia;' @SUM(1)", "'=1+1", "'＝1+1", "a;'=1+1", "-"]


BAD_NAMES = ["", " \u3000", "\u200b", "\u3164", "a\nb", "a\0", "\x1b[2J", "\ud800", "x" * 41, 5]


def test_a_name_is_readable_and_nobody_else_has_it(room: Room) -> None:
    mia, other = room.pupil("Mia"), room.enter(room.link)
    join = "/api/classroom/join"

    assert other.get("/api/state")["classroom"] == rules(role="pupil", name=None)
    assert other.refused("/api/predict", {"drawing": draw("ring")}) == 409
    for name in (*BAD_NAMES, "a" + 150_000 * "\u0301\u0316"):  # would take minutes to normalise
        assert other.refused(join, {"name": name}) == 422, name
    room.pupil("Zoë")
    for name in ("Mia", " mia ", "M\u200bIA", "\uff2dia", "M\u034fia", "Zoe\u200b\u0308"):
        assert other.refused(join, {"name": name}) == 409, name
    assert mia.refused(join, {"name": "Ben"}) == 409
    mia.post(join, {"name": "Mia"})  # sent again
    assert room.teacher.refused(join, {"name": "Ben"}) == 409
    room.teacher.post("/api/classroom/remove", {"name": "Mia"})
    other.post(join, {"name": "<b>Mia</b> 🦊"})
    mia.post(join, {"name": "Mia"})
    assert set(people(room.teacher)) == {"<b>Mia</b> 🦊", "Mia", "Zoë"}


def test_the_teacher_pauses_allows_signs_and_sets_a_task(room: Room) -> None:
    teacher, mia = room.teacher, room.pupil("Mia")
    (label,) = teacher.add("β")
    own = mia.draw(label, draw("ring"))
    assert mia.refused("/api/classes", {"names": ["γ"]}) == 409
    teacher.post("/api/classroom", rules(paused=True, may_add=True, task=label))

    lesson = rules(paused=True, may_add=True, task=label, role="pupil", name="Mia")
    assert mia.get("/api/state")["classroom"] == lesson
    assert mia.refused("/api/drawings", {"class": label, "drawing": draw("ring")}) == 409
    assert mia.refused("/api/drawings/move", {"drawings": [own["id"]], "class": None}) == 409
    assert mia.refused("/api/undo", {"event": own["state"]["undo"]["event"]}) == 409
    assert mia.refused("/api/classes", {"names": ["γ"]}) == 409
    assert mia.post("/api/predict", {"drawing": draw("ring")})
    teacher.draw(label, draw("ring"))
    teacher.post("/api/classroom", rules(may_add=True))
    mia.add("γ")
    assert teacher.refused("/api/classroom", rules(task=NOBODY)) == 404
    assert teacher.refused("/api/classroom", rules(paused="yes")) == 422


def test_a_restart_goes_on_with_the_lesson_until_its_end(tmp_path: Path, backbone) -> None:
    folder = tmp_path / "my-signs"
    address = listen("0.0.0.0", 0)
    with closing(Studio(folder, backbone)) as studio, serving(studio, address) as port:
        room = Room(port, str(address.token))
        (label,) = room.teacher.add("a")
        mia, link = room.pupil("Mia"), room.link
        own = mia.draw(label, draw("ring"))["id"]
    again = listen("0.0.0.0", port)
    with closing(Studio(folder, backbone)) as studio, serving(studio, again):
        old, room = room, Room(port, str(again.token))
        assert mia.get("/api/state")["classroom"]["name"] == "Mia"
        assert room.link == link and room.enter(link.upper().replace("/J/", "/j/").replace("-", ""))
        room.teacher.post("/api/classroom/end", {})
        assert mia.refused("/api/state") == 403 and room.link != link
        for path in (link, f"/?token={old.token}", "/j/", "/j/abcd-efgh", "/j/%C3%A9", f"/j/{own}"):
            assert Client(port).request(path)[0] == 403
        mia = room.enter(room.link, mia.cookie)  # the same browser in the next lesson
        mia.post("/api/classroom/join", {"name": "Mia B"})
        mia.post("/api/drawings/move", {"drawings": [own], "class": None})


def test_a_cookie_cannot_be_forged_and_a_teacher_stays_one(room: Room) -> None:
    mia, teacher = room.pupil("Mia"), room.teacher
    name, _, value = mia.cookie.partition("=")
    code, _, session = value.partition(".")
    role = f"{teacher.cookie.partition('.')[2]}"
    for wrong in (
        *(f"{code}.", f"{code}.{session[:-1]}", f"{code}.{session.upper()}x", code, f".{session}"),
        *(f"{code[:-1]}.{session}", f"{room.token[:-1]}.{role}", f"None.{session}", "teacher"),
    ):
        assert Client(room.port, f"{name}={wrong}").refused("/api/state") == 403, wrong
    both = Client(room.port, f"{name}={code}.{role}")  # the teacher's session is not their role
    assert both.get("/api/state")["classroom"]["role"] == "pupil"
    assert room.enter(room.link, teacher.cookie) == teacher
    assert b"<svg" in teacher.get("/api/classroom/qr.svg")


def test_a_set_from_somebody_else_lets_nobody_in(studio: Studio) -> None:
    session = "a" * 16
    studio.store.write_setting("lesson", f'{{"code": "", "pupils": {{"{session}": "Eve"}}}}')
    address = listen("0.0.0.0", 0)
    with serving(studio, address) as port:
        assert Client(port, f"siglum-{port}=.{session}").refused("/api/state") == 403
        assert people(Room(port, str(address.token)).teacher) == {}


def test_a_studio_of_ones_own_has_no_roles(client: Client) -> None:
    state = client.get("/api/state")

    assert state["classroom"] is None
    assert client.request("/j/abcd-efgh")[0] == 404
    assert client.refused("/api/classroom/join", {"name": "Mia"}) == 409
