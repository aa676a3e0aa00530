"""What the Studio's page can ask for; docs/studio-protocol.md. The work is done elsewhere."""

import asyncio
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from siglum.errors import DataError
from siglum.images import strokes
from siglum.studio import guard, receive, report, seen, take, view, wire
from siglum.studio.changes import (
    DeleteClass,
    MergeClass,
    MoveDrawings,
    RemoveDrawings,
    RenameClass,
)
from siglum.studio.snapshot import Snapshot, class_id
from siglum.studio.studio import Conflict, Missing, Studio
from siglum.studio.view import Json
from siglum.studio.wire import Id, Part

NEWS_SECONDS = 0.2  # between two looks whether there is news
ALIVE_SECONDS = 15.0  # after which an open stream says that it is open
CHUNK = 1 << 16  # bytes of a file that are sent at once
FOREVER = {"Cache-Control": "private, max-age=86400, immutable"}  # what an id shows never changes


class Problem(wire.Asked):
    """Why something was refused: rule, value, remedy."""

    error: str


_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 403, 404, 408, 409, 413, 415, 422, 429)
}
reading = APIRouter(route_class=wire.ReadingRoute, responses=_REFUSALS)
changing = APIRouter(route_class=wire.ChangingRoute, responses=_REFUSALS)


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


def _who(request: Request) -> str:
    """Return which of several people asks; "" where there is one."""
    return guard.who(request.scope)


def _raw(types: tuple[str, ...]) -> dict[str, Any]:
    """Return what the description of a route says of a body of bytes."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in types}
    return {"requestBody": {"content": content, "required": True}}


Opened = Annotated[Studio, Depends(_studio)]
Who = Annotated[str, Depends(_who)]
ClassId = Annotated[Id, Path(alias="class")]


def _class(now: Snapshot, wanted: str) -> str:
    """Return the name of a class by its id."""
    if (name := now.names.get(wanted)) is None:
        raise Missing(f"class must be one that there is, got {wanted}. Load the page again.")
    return name


def _drawing(now: Snapshot, wanted: str) -> str:
    if wanted not in now.state.drawings:
        raise Missing(f"sample must be one that there is, got {wanted}. Load the page again.")
    return wanted


def _drawings(now: Snapshot, asked: wire.Choosing) -> tuple[str, ...]:
    return tuple(_drawing(now, wanted) for wanted in dict.fromkeys(asked.samples))


def _json(value: Any) -> Response:
    """Answer with what is JSON as it is; FastAPI would look at every value of it first."""
    return Response(_written(value), media_type="application/json")


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _state(studio: Studio, now: Snapshot, who: str) -> str:
    """Return the state as JSON: what everybody is told, which is there already, and one's own."""
    own = _written(view.turns(studio.ledger.lines, who or None))
    return f"{studio.told(now)[:-1]},{own[1:]}"


def _changed(studio: Studio, now: Snapshot, who: str, **more: Any) -> Response:
    """Answer with the state after a change, and more."""
    text = "".join(f",{_written(name)}:{_written(value)}" for name, value in more.items())
    return Response(f'{{"state":{_state(studio, now, who)}{text}}}', media_type="application/json")


@reading.get("/api/state")
def state(studio: Opened, who: Who) -> Response:
    """Return all but the drawings."""
    return Response(_state(studio, studio.current, who), media_type="application/json")


@reading.get("/api/events", response_class=StreamingResponse)
async def events(studio: Opened) -> Response:
    """Send the number of each new version, the present one first."""

    async def numbers() -> AsyncIterator[str]:
        told, at = -1, time.monotonic()
        while True:
            version = studio.current.version
            if version != told:
                told, at = version, time.monotonic()
                yield f"data: {version}\n\n"
            elif time.monotonic() - at > ALIVE_SECONDS:
                at = time.monotonic()
                yield ": nothing new\n\n"
            await asyncio.sleep(NEWS_SECONDS)

    return StreamingResponse(numbers(), media_type="text/event-stream")


@reading.post("/api/recognise")
def recognise(asked: wire.Reading, studio: Opened) -> Response:
    """Read a drawing."""
    began = time.perf_counter()
    picture = 255 - strokes.rasterise(strokes.parse(asked.drawing))
    one, found = seen.look(studio.backbone, picture)
    said = seen.said_of_drawing(found)
    return _json(view.answer(studio.current, one, said, asked.heat, began))


@changing.post("/api/picture", openapi_extra=_raw(guard.PICTURE.types))
async def picture(
    request: Request,
    studio: Opened,
    who: Who,
    class_: Annotated[Id | None, Query(alias="class")] = None,
    part: Part = "taught",
    writer: Annotated[str, Query(max_length=wire.MOST_TEXT)] = "",
    heat: bool = False,
) -> Response:
    """Read a photo of a character, or of a page of them; with a class, keep it as its sample."""
    raw = await request.body()
    kind = request.headers["content-type"].partition(";")[0].strip().lower()
    if class_ is None:
        return await run_in_threadpool(_read_picture, studio, raw, kind, heat)
    return await run_in_threadpool(_keep_picture, studio, raw, kind, class_, part, writer, who)


def _read_picture(studio: Studio, raw: bytes, kind: str, heat: bool) -> Response:
    began = time.perf_counter()
    pixels = seen.decoded(raw, kind)
    now = studio.current
    one, found = seen.look(studio.backbone, pixels)
    about: Json = {"width": pixels.shape[2], "height": pixels.shape[1], "sideways": False}
    if found.empty:
        return _json({**about, "characters": []})
    if found.characters < 2:
        said = view.answer(now, one, seen.said_of_photo(found), heat, began)
        return _json({**about, "characters": [{"box": found.box, "row": 0, **said}]})
    characters, sideways = seen.look_at_page(studio.backbone, pixels)
    answers = [
        {"box": each.box, "row": row, **view.answer(now, one, [], False, began)}
        for each, row, one in characters
    ]
    return _json({**about, "sideways": sideways, "characters": answers})


def _keep_picture(
    studio: Studio, raw: bytes, kind: str, wanted: str, part: str, writer: str, who: str
) -> Response:
    name = _class(studio.current, wanted)
    writer = wire.text("writer", writer, least=0)
    pixels = seen.small(seen.decoded(raw, kind))
    one, found = seen.look(studio.backbone, pixels)
    if found.empty or found.characters > 1:
        shown = "no ink" if found.empty else f"about {found.characters}"
        raise DataError(f"picture must show one character to be kept, got {shown}. Cut it out.")
    now = studio.current
    if any(now.seen[other].digest == one.digest for other in now.state.of(name)):
        raise Conflict("picture must be new to be kept, got one that is equal to the pixel.")
    kept, now = studio.draw(pixels, name, writer, part, who)
    return _drawn(studio, now, who, kept)


@changing.post("/api/classes")
def add_class(asked: wire.Naming, studio: Opened, who: Who) -> Response:
    """Add a class: a character, a character's Unicode name, or any other; or find it there."""
    name = wire.character(wire.text("name", asked.name))
    studio.add_class(name, who)
    return _changed(studio, studio.learned(), who, id=class_id(name))


@changing.post("/api/classes/{class}/rename")
def rename_class(class_: ClassId, asked: wire.Naming, studio: Opened, who: Who) -> Response:
    """Give a class another name; the answer has its new id."""
    name = wire.text("name", asked.name)
    now = studio.record(RenameClass(_class(studio.current, class_), name), who)
    return _changed(studio, now, who, id=class_id(name))


@changing.post("/api/classes/{class}/merge")
def merge_class(class_: ClassId, asked: wire.Merging, studio: Opened, who: Who) -> Response:
    """Make a class part of another."""
    name, into = _class(studio.current, class_), _class(studio.current, asked.into)
    now = studio.record(MergeClass(name, into), who)
    return _changed(studio, now, who, id=asked.into)


@changing.post("/api/classes/{class}/delete")
def delete_class(class_: ClassId, asked: wire.Nothing, studio: Opened, who: Who) -> Response:
    """Let a class and its drawings no longer count."""
    now = studio.record(DeleteClass(_class(studio.current, class_)), who)
    return _changed(studio, now, who)


@changing.post("/api/samples")
def add_sample(asked: wire.Adding, studio: Opened, who: Who) -> Response:
    """Keep a drawing; it is on disk when this answers, and learned, unless it is of the quiz."""
    if asked.folder not in (None, studio.id):
        raise Conflict("folder must be the one that is open here, got another. Open that one.")
    drawing = strokes.parse(asked.drawing)
    writer = wire.text("writer", asked.writer, least=0)
    if asked.key is not None and studio.ledger.knows(asked.key):  # whatever its class is called now
        return _drawn(studio, studio.learned(), who, asked.key)
    name = _class(studio.current, asked.class_)
    kept, now = studio.draw(drawing, name, writer, asked.part, who, asked.key)
    return _drawn(studio, now, who, kept)


def _drawn(studio: Studio, now: Snapshot, who: str, kept: str) -> Response:
    """Answer after a drawing; of one to test with also how it was read."""
    more: Json = {}
    if kept in now.state.drawings and now.state.drawings[kept].part == "quiz":
        more = {"read": view.sample(now, kept)["read"], "right": now.is_right(kept)}
    return _changed(studio, now, who, id=kept, **more)


@changing.post("/api/samples/move")
def move_samples(asked: wire.Moving, studio: Opened, who: Who) -> Response:
    """Say that drawings are of another class."""
    now = studio.current
    change = MoveDrawings(_drawings(now, asked), _class(now, asked.class_))
    return _changed(studio, studio.record(change, who), who)


@changing.post("/api/samples/delete")
def delete_samples(asked: wire.Choosing, studio: Opened, who: Who) -> Response:
    """Let drawings no longer count."""
    change = RemoveDrawings(_drawings(studio.current, asked))
    return _changed(studio, studio.record(change, who), who)


@reading.get("/api/samples")
def list_samples(
    studio: Opened,
    class_: Annotated[Id | None, Query(alias="class")] = None,
    part: Part | None = None,
    wrong: bool | None = None,
) -> Response:
    """Return the drawings, or some of them, in the order in which they came."""
    now = studio.current
    name = None if class_ is None else _class(now, class_)
    listed = [view.sample(now, one) for one in now.state.of(name, None, part)]
    return _json([one for one in listed if wrong in (None, one["wrong"])])


@reading.get("/api/samples/{sample}.png", response_class=Response)
def sample_png(sample: Id, studio: Opened) -> Response:
    """Show a drawing as it was drawn."""
    raw = studio.picture(_drawing(studio.current, sample))
    return Response(raw, media_type="image/png", headers=FOREVER)


@changing.post("/api/undo")
def undo(asked: wire.Turning, studio: Opened, who: Who) -> Response:
    """Undo the last change of whoever asks."""
    return _changed(studio, studio.undo(who or None, asked.line), who)


@changing.post("/api/redo")
def redo(asked: wire.Turning, studio: Opened, who: Who) -> Response:
    """Make the change again that was undone last."""
    return _changed(studio, studio.redo(who or None, asked.line), who)


@reading.post("/api/quiz")
def quiz(asked: wire.Nothing, studio: Opened) -> Json:
    """Name a class to be drawn: one of those that were drawn least to test with."""
    now = studio.current
    drawn = Counter(
        entry.class_name for entry in now.state.drawings.values() if entry.part == "quiz"
    )
    if not now.labels:
        raise Conflict("a quiz must have two classes that are known, got fewer. Teach them first.")
    least = min(drawn[name] for name in now.labels)
    name = secrets.choice([name for name in now.labels if drawn[name] == least])
    return {"class": class_id(name), "name": name}


@reading.get("/api/bundle", response_class=Response)
def bundle(studio: Opened) -> Response:
    """Return the recogniser as a file."""
    raw = take.bundle(studio.current)
    return Response(raw, media_type="application/octet-stream", headers=_file(studio, ".siglum"))


@reading.get("/api/samples.zip", response_class=StreamingResponse)
def samples_zip(studio: Opened) -> Response:
    """Return the drawings as a folder, zipped."""
    file = take.zipped(studio, studio.current)
    parts = iter(partial(file.read, CHUNK), b"")
    headers = _file(studio, "-samples.zip")
    done = BackgroundTask(file.close)
    return StreamingResponse(parts, media_type="application/zip", headers=headers, background=done)


@reading.get("/api/report", response_class=Response)
def report_page(studio: Opened) -> Response:
    """Return a page that says what was taught, and how well it reads; it loads nothing."""
    page = report.page(studio, studio.current)
    headers = _file(studio, ".html") | {"Content-Security-Policy": report.POLICY}
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)


@changing.post("/api/open", openapi_extra=_raw(guard.FILE.types))
async def open_file(request: Request, studio: Opened, who: Who) -> Response:
    """Take classes and drawings from a bundle or a zip that somebody sent."""
    raw, job = await request.body(), request.app.state.job
    return await run_in_threadpool(_take_in, studio, raw, who, job)


def _take_in(studio: Studio, raw: bytes, who: str, job: receive.Job) -> Response:
    now, taken = receive.receive(studio, raw, who, job)
    return _changed(studio, now, who, said=taken.said, samples=taken.samples)


@reading.post("/api/cancel")
def cancel(asked: wire.Nothing, request: Request) -> Json:
    """Stop taking in a file."""
    request.app.state.job.cancelled.set()
    return {}


def _file(studio: Studio, ending: str) -> dict[str, str]:
    """Return the header that has a browser save a file under the folder's name."""
    name = re.sub("[^A-Za-z0-9_-]+", "", studio.folder.resolve().name) or "my-signs"
    return {"Content-Disposition": f'attachment; filename="{name}{ending}"'}
