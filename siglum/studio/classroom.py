"""A class that draws into one set: who may do what, the lesson, and the teacher's overview.

There are roles only where other machines can reach the Studio. The teacher enters by the token,
pupils by a short code; either becomes a cookie with a session, which owns changes and drawings.
"""

import re
import secrets
import threading
import time
import unicodedata
from collections import Counter, defaultdict
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field, StrictBool, ValidationError

from siglum.files import to_csv
from siglum.studio import store
from siglum.studio.snapshot import Json, Studio, recognition_rate
from siglum.studio.store import StudioError

SYMBOLS = "abcdefghjkmnpqrstuvwxyz23456789"  # none look alike; 8 of them have 40 bits
MAX_PUPILS, MAX_NAME = 200, 40
PRESENT_SECONDS = 10.0  # after the last request
INVISIBLE = re.compile(  # among printable characters: joiners, fillers and variation selectors
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
PUPILS = {  # what pupils may request, and when; everything else is the teacher's
    "always": "GET /(static/.*|api/(state|events))?",
    "to join": "POST /api/classroom/join",
    "to look": "GET /api/(drawings(/[^/]*[.]png)?|find/.*)|"
    "POST /api/(predict(/image)?|find(/image)?|test/next)",
    "to draw": "POST /api/(drawings(/image|/move)?|undo|redo)",  # by and of themselves, see `Call`
    "to add": "POST /api/classes",
}


class Visitor(NamedTuple):
    """A browser; by default that of the one person who uses a Studio."""

    role: Literal["owner", "teacher", "pupil"] = "owner"
    session: str | None = None  # None: all browsers of one person
    name: str | None = None  # of a pupil who has joined


class Rules(BaseModel, frozen=True):
    """The teacher's settings of a lesson."""

    paused: StrictBool = False  # pupils cannot draw
    may_add: StrictBool = False  # pupils may add signs
    task: str | None = None  # id of the class that all are to draw


class Lesson(Rules, frozen=True):
    """A lesson as the set stores it; it survives a restart of the Studio."""

    code: str = Field(
        default_factory=lambda: "".join(secrets.choice(SYMBOLS) for _ in range(8)),
        pattern=f"^[{SYMBOLS}]{{8}}$",
    )
    pupils: dict[str, str] = {}  # name by session


class Classroom:
    """The visitors of a Studio; without a token, one person."""

    def __init__(self, studio: Studio, token: str | None, url: str) -> None:
        self.studio, self.token, self.url = studio, token, url.partition("?")[0]
        self._lock, self._times = threading.Lock(), dict[str, float]()  # of requests, by pupil
        try:
            self.lesson = Lesson.model_validate_json(studio.store.read_setting("lesson"))
        except ValidationError:
            self._save(Lesson())

    def _save(self, lesson: Lesson) -> None:
        self.studio.store.write_setting("lesson", lesson.model_dump_json())
        self.lesson = lesson
        self.studio.announce()

    def identify(self, secret: str, session: str) -> Visitor | None:
        """Return the visitor with this token or code; None if it is neither."""
        assert self.token is not None  # else nobody is asked
        if secrets.compare_digest(secret.encode(), self.token.encode()):
            return Visitor("teacher", session)
        if secrets.compare_digest(secret.encode(), self.lesson.code.encode()):
            return Visitor("pupil", session, self.lesson.pupils.get(session))
        return None

    def check(self, visitor: Visitor, request: str) -> None:
        """Raise StudioError if a visitor may not send a request, such as "GET /", now."""
        self.note_presence(visitor)
        rule = next((r for r, pattern in PUPILS.items() if re.fullmatch(pattern, request)), None)
        if visitor.role == "teacher" or rule == "always":
            return
        if rule is None:
            raise StudioError(403, "Only the teacher may do this.")
        if visitor.name is None and rule != "to join":
            raise StudioError(409, "Enter your first name to join.")
        if self.lesson.paused and rule in ("to draw", "to add"):
            raise StudioError(409, "The lesson is paused. Wait for your teacher.")
        if not self.lesson.may_add and rule == "to add":
            raise StudioError(409, "Only your teacher adds signs. Choose one that is there.")

    def note_presence(self, visitor: Visitor) -> None:
        """Remember that a pupil is here."""
        if visitor.name is not None:
            self._times[visitor.name] = time.monotonic()

    def join(self, visitor: Visitor, name: str) -> Visitor:
        """Give a pupil a name, which must differ from those of the others."""
        with self._lock:
            others = {**self.lesson.pupils}
            if visitor.role != "pupil" or others.pop(str(visitor.session), name) != name:
                raise StudioError(409, f"You are {visitor.name or 'the teacher'} already.")
            if name.casefold() in map(str.casefold, others.values()):
                raise StudioError(409, f"There is a {name} already. Add a letter to your name.")
            if len(others) >= MAX_PUPILS:
                raise StudioError(409, f"A lesson has at most {MAX_PUPILS} pupils.")
            pupils = others | {str(visitor.session): name}
            self._save(self.lesson.model_copy(update={"pupils": pupils}))
        return visitor._replace(name=name)

    def set_rules(self, rules: Rules) -> None:
        """Change what pupils may do, and which class they are to draw."""
        if rules.task not in (None, *self.studio.store.state.classes):
            raise StudioError(404, "That class no longer exists. Load the page again.")
        with self._lock:
            self._save(self.lesson.model_copy(update=rules.model_dump()))

    def remove(self, name: str) -> None:
        """Take a pupil's name away; their page asks for another one."""
        with self._lock:
            others = {id: other for id, other in self.lesson.pupils.items() if other != name}
            self._save(self.lesson.model_copy(update={"pupils": others}))

    def end(self) -> None:
        """End the lesson: no pupil can go on, and the next lesson has another code."""
        with self._lock:
            self._save(Lesson())

    def describe(self, visitor: Visitor) -> Json | None:
        """Return the lesson as this visitor's page needs it; None without a class."""
        if visitor.role == "owner":
            return None
        value = self.lesson.model_dump(include={"paused", "may_add", "task"})
        if value["task"] not in self.studio.current.state.classes:
            value["task"] = None
        return value | {"role": visitor.role, "name": visitor.name}

    def overview(self) -> Json:
        """Return the pupils, and everybody else who is the author of drawings."""
        code, names = self.lesson.code, self.lesson.pupils.values()
        start = time.monotonic() - PRESENT_SECONDS
        drawings = defaultdict[str, list[Json]](list)
        for one in self.studio.current.drawings.values():
            drawings[one["author"]].append(one)
        pupils = [
            {
                "name": name,
                "joined": name in names,
                "present": name in names and self._times.get(name, start) > start,
                "drawings": len(drawings[name]),
                "classes": Counter(one["class"] for one in drawings[name]),
                "suspicious": [one["id"] for one in drawings[name] if one["suspect"]],
                "accuracy": recognition_rate(drawings[name]),
            }
            for name in dict.fromkeys([*names, *filter(None, drawings)])
        ]
        return {"link": f"{self.url}j/{code[:4]}-{code[4:]}", "pupils": pupils}

    def table(self) -> str:
        """Return the overview as CSV, with a column for each class."""
        classes = self.studio.current.state.classes
        columns = ("name", "drawings", "suspicious", "recognised", "of", "95 % from", "95 % to")
        rows = [[*columns, *classes.values()]]
        for one in self.overview()["pupils"]:
            rate = [round(value, 3) for value in (one["accuracy"] or {}).values()] or [""] * 4
            counts = [one["drawings"], len(one["suspicious"]), *rate]
            rows.append([one["name"], *counts, *(one["classes"][id] for id in classes)])
        return to_csv(map(_escape, row) for row in rows)


def _escape(cell: str | float) -> str:
    """Return a cell that no spreadsheet runs as a formula, also where semicolons end a cell."""
    return re.sub(r"(^|[;\t])(?=\s*[=+\-@＝＋－＠].)", r"\1'", str(cell))


def pupil_name(value: str) -> str:
    """Return a first name without invisible characters; ValueError if there is none."""
    text = unicodedata.normalize("NFKC", store.clean_name(value))
    visible = INVISIBLE.sub("", "".join(filter(str.isprintable, text)))
    name = " ".join(unicodedata.normalize("NFKC", visible).split())
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"a name must have 1 to {MAX_NAME} letters")
    return name
