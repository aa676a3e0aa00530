"""The routes of docs/studio-protocol.md."""

import asyncio
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from siglum.images import strokes
from siglum.studio import export, import_, schemas, security, serializers
from siglum.studio.drawings import (
    decode_upload,
    drawing_notes,
    extract,
    extract_page,
    shrink_photo,
    stroke_image,
    to_png,
)
from siglum.studio.errors import STATUS, StudioError
from siglum.studio.report import report_page
from siglum.studio.schemas import Id, ReadRoute, Split, WriteRoute
from siglum.studio.serializers import Json
from siglum.studio.state import Snapshot, Studio
from siglum.studio.store import Entry, NewDrawing, timestamp

NEWS_SECONDS = 0.2  # between two looks for a new version
ALIVE_SECONDS = 15.0  # after which a silent stream sends a comment
CHUNK = 1 << 16  # bytes of a file that are sent at once
FOREVER = {"Cache-Control": "private, max-age=86400, immutable"}
REFUSALS: dict[int | str, Json] = {
    status: {"model": schemas.Refusal} for status in sorted(set(STATUS.values()))
}

read = APIRouter(route_class=ReadRoute, responses=REFUSALS)
write = APIRouter(route_class=WriteRoute, responses=REFUSALS)


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


def _session(request: Request) -> str | None:
    return security.session_of(request.scope)


def _raw(types: tuple[str, ...]) -> Json:
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in types}
    return {"requestBody": {"content": content, "required": True}}


Opened = Annotated[Studio, Depends(_studio)]
Session = Annotated[str | None, Depends(_session)]
ClassId = Annotated[Id, Path(alias="class")]
ClassQuery = Annotated[Id, Query(alias="class")]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


def _state(studio: Studio, now: Snapshot, session: str | None) -> str:
    """Return the state as JSON; most of it is the same for everybody and made once."""
    shared = studio.serialise(now, lambda: serializers.shared_state(studio, now))
    return f"{shared[:-1]},{_text(serializers.history(studio, session))[1:]}"


def _changed(studio: Studio, session: str | None, **more: Any) -> Response:
    """Return the state after a change, and more."""
    now = studio.update()
    return _json(f'{{"state":{_state(studio, now, session)},{_text(more)[1:]}'.replace(",}", "}"))


@read.get("/api/state")
def get_state(studio: Opened, session: Session) -> Response:
    """Return the state."""
    return _json(_state(studio, studio.current, session))


@read.get("/api/events", response_class=StreamingResponse)
async def events(request: Request, studio: Opened) -> Response:
    """Send each new version, the current one first."""

    async def versions() -> AsyncIterator[str]:
        sent, at = -1, time.monotonic()
        while not request.app.state.closing.is_set():
            if (version := studio.current.version) != sent:
                sent, at = version, time.monotonic()
                yield f"data: {version}\n\n"
            elif time.monotonic() - at > ALIVE_SECONDS:
                at = time.monotonic()
                yield ": nothing new\n\n"
            await asyncio.sleep(NEWS_SECONDS)

    return StreamingResponse(versions(), media_type="text/event-stream")


@read.post("/api/predict")
def predict(asked: schemas.Predict, studio: Opened) -> Response:
    """Predict a drawing."""
    start = time.perf_counter()
    ink, report = extract(studio.backbone, stroke_image(strokes.parse(asked.drawing)))
    notes = drawing_notes(report)
    now = studio.current
    return _json(_text(serializers.prediction(now, ink, notes, asked.heatmap, start)))


@read.post("/api/predict/image", openapi_extra=_raw(security.IMAGE_TYPES))
async def predict_image(request: Request, studio: Opened, heatmap: bool = False) -> Response:
    """Predict the sign in an image, or every sign on a page."""
    body = await request.body()
    return await run_in_threadpool(_predict_image, studio, body, _type(request), heatmap)


def _type(request: Request) -> str:
    return request.headers["content-type"].partition(";")[0].strip().lower()


def _predict_image(studio: Studio, body: bytes, content_type: str, heat: bool) -> Response:
    start = time.perf_counter()
    image = decode_upload(body, content_type)
    now = studio.current
    ink, report = extract(studio.backbone, image)
    height, width = image.shape[1:]
    value: Json = {"width": width, "height": height, "sideways": False, "signs": []}
    if not report.empty and report.characters < 2:
        answer = serializers.prediction(now, ink, report.warnings(), heat, start)
        value["signs"] = [{"box": report.box, "row": 0, **answer}]
    elif not report.empty:
        signs, value["sideways"] = extract_page(studio.backbone, image)
        value["signs"] = [
            {"box": box, "row": row, **serializers.prediction(now, one, [], False, start)}
            for box, row, one in signs
        ]
    return _json(_text(value))


@write.post("/api/classes")
def add_classes(asked: schemas.AddClasses, studio: Opened, session: Session) -> Response:
    """Add classes, or return those that exist."""
    return _changed(studio, session, ids=studio.store.add_classes(asked.names, session))


@write.post("/api/classes/{class}/rename")
def rename_class(
    class_: ClassId, asked: schemas.Rename, studio: Opened, session: Session
) -> Response:
    """Rename a class."""
    studio.store.rename_class(class_, asked.name, session)
    return _changed(studio, session)


@write.post("/api/classes/{class}/merge")
def merge_class(
    class_: ClassId, asked: schemas.Merge, studio: Opened, session: Session
) -> Response:
    """Merge a class into another one."""
    studio.store.remove_class(class_, asked.into, session)
    return _changed(studio, session)


@write.post("/api/classes/{class}/delete")
def delete_class(
    class_: ClassId, asked: schemas.Empty, studio: Opened, session: Session
) -> Response:
    """Delete a class and its drawings."""
    studio.store.remove_class(class_, None, session)
    return _changed(studio, session)


@write.post("/api/drawings")
def add_drawing(asked: schemas.AddDrawing, studio: Opened, session: Session) -> Response:
    """Save a drawing."""
    if asked.set_id not in (None, studio.store.set_id):
        raise StudioError("other_set", "This drawing was made for another set of signs.")
    drawing = strokes.parse(asked.drawing)
    if asked.id is not None and studio.store.has(asked.id):  # whatever became of its class
        return _saved(studio, session, asked.id)
    image = stroke_image(drawing)
    ink, report = extract(studio.backbone, image)
    if report.empty:
        raise StudioError("no_ink", "There is no ink on the pad to save.")
    facts = Entry(asked.class_, asked.author, asked.split, timestamp(), False)
    id = asked.id or secrets.token_hex(8)
    new = NewDrawing(facts, _text(strokes.to_json(drawing)), to_png(image), id)
    studio.add_drawing(new, ink, session, asked.replaces)
    return _saved(studio, session, id)


@write.post("/api/drawings/image", openapi_extra=_raw(security.IMAGE_TYPES))
async def add_image(
    request: Request,
    studio: Opened,
    session: Session,
    class_: ClassQuery,
    split: Split = "train",
    author: schemas.Author = "",
) -> Response:
    """Save an image of one sign."""
    facts = Entry(class_, author, split, timestamp(), True)
    body = await request.body()
    return await run_in_threadpool(_add_image, studio, body, _type(request), facts, session)


def _add_image(
    studio: Studio, body: bytes, content_type: str, facts: Entry, session: str | None
) -> Response:
    studio.store.class_name(facts.label)
    image = shrink_photo(decode_upload(body, content_type))
    ink, report = extract(studio.backbone, image)
    if report.empty:
        raise StudioError("no_ink", "There is no sign in this picture to save.")
    if report.characters > 1:
        message = f"This picture shows about {report.characters} signs. Crop it to one."
        raise StudioError("several_signs", message)
    now = studio.current
    if any(np.array_equal(now.inks[id].ink, ink.ink) for id in now.state.select(facts.label)):
        raise StudioError("already_saved", "You have saved this one already.")
    new = NewDrawing(facts, None, to_png(image))
    studio.add_drawing(new, ink, session)
    return _saved(studio, session, new.id)


def _saved(studio: Studio, session: str | None, id: str) -> Response:
    """Return the answer after a drawing; for a test drawing with its prediction."""
    now = studio.update()
    more: Json = {}
    if id in now.state.drawings and now.state.drawings[id].split == "test":
        facts = serializers.drawing(now, id)
        more = {name: facts[name] for name in ("prediction", "rejected", "correct")}
    return _changed(studio, session, id=id, **more)


@write.post("/api/drawings/move")
def move_drawings(asked: schemas.Move, studio: Opened, session: Session) -> Response:
    """Move drawings to another class."""
    studio.store.move_drawings([*dict.fromkeys(asked.drawings)], asked.class_, session)
    return _changed(studio, session)


@write.post("/api/drawings/delete")
def delete_drawings(asked: schemas.Drawings, studio: Opened, session: Session) -> Response:
    """Delete drawings."""
    studio.store.move_drawings([*dict.fromkeys(asked.drawings)], None, session)
    return _changed(studio, session)


@read.get("/api/drawings")
def list_drawings(
    studio: Opened,
    class_: Annotated[Id | None, Query(alias="class")] = None,
    split: Split | None = None,
    incorrect: bool = False,
) -> Response:
    """Return drawings, in the order in which they were saved."""
    now = studio.current
    if class_ is not None:
        studio.store.class_name(class_)
    facts = [serializers.drawing(now, id) for id in now.state.select(class_, split)]
    return _json(_text([one for one in facts if not incorrect or one["correct"] is False]))


@read.get("/api/drawings/{drawing}.png", response_class=Response)
def get_image(drawing: Id, studio: Opened) -> Response:
    """Return the image of a drawing."""
    studio.store.drawing(drawing)
    return Response(studio.store.content(drawing)[1], media_type="image/png", headers=FOREVER)


@write.post("/api/undo")
def undo(asked: schemas.Event, studio: Opened, session: Session) -> Response:
    """Undo the last change."""
    studio.store.undo(asked.event, session)
    return _changed(studio, session)


@write.post("/api/redo")
def redo(asked: schemas.Event, studio: Opened, session: Session) -> Response:
    """Redo the change that was undone last."""
    studio.store.redo(asked.event, session)
    return _changed(studio, session)


@read.post("/api/test/next")
def next_test(asked: schemas.Empty, studio: Opened) -> Json:
    """Choose a class to draw as a test: one of those with the fewest test drawings."""
    now = studio.current
    if now.fitted is None:
        raise StudioError("conflict", "A test needs two signs. Add them under Teach.")
    counts = Counter(now.state.drawings[id].label for id in now.state.select(split="test"))
    fewest = min(counts[id] for id in now.class_ids)
    id = secrets.choice([id for id in now.class_ids if counts[id] == fewest])
    return {"class": id, "name": now.state.classes[id]}


@write.post("/api/import", openapi_extra=_raw(security.FILE_TYPES))
async def import_file(request: Request, studio: Opened, session: Session) -> Response:
    """Import a bundle or a zip of images."""
    body, job = await request.body(), request.app.state.import_job
    result = await run_in_threadpool(import_.import_bytes, studio, body, session, job)
    return await run_in_threadpool(partial(_changed, studio, session, **vars(result)))


@read.get("/api/import")
def import_progress(request: Request) -> Json:
    """Return how far an import is."""
    job: import_.Job = request.app.state.import_job
    return {"running": job.lock.locked(), "done": job.done, "total": job.total}


@read.post("/api/import/cancel")
def cancel_import(asked: schemas.Empty, request: Request) -> Json:
    """Stop an import; nothing of it is added."""
    request.app.state.import_job.cancelled.set()
    return {}


@read.get("/api/bundle", response_class=Response)
def get_bundle(studio: Opened) -> Response:
    """Return the recogniser as a file."""
    content = export.bundle(studio.current)
    headers = _attachment(studio, ".siglum")
    return Response(content, media_type="application/octet-stream", headers=headers)


@read.get("/api/drawings.zip", response_class=StreamingResponse)
def get_zip(studio: Opened) -> Response:
    """Return all drawings as a zip."""
    file = export.open_zip(studio.store)
    chunks = iter(partial(file.read, CHUNK), b"")
    headers = _attachment(studio, "-drawings.zip")
    close = BackgroundTask(file.close)
    return StreamingResponse(chunks, 200, headers, "application/zip", close)


@read.get("/api/report", response_class=Response)
def get_report(studio: Opened) -> Response:
    """Return the report as a page that loads and runs nothing."""
    page, policy = report_page(studio, studio.current)
    headers = _attachment(studio, ".html") | {"Content-Security-Policy": policy}
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)


def _attachment(studio: Studio, ending: str) -> dict[str, str]:
    name = re.sub("[^A-Za-z0-9_-]+", "", studio.title) or "my-signs"
    return {"Content-Disposition": f'attachment; filename="{name}{ending}"'}
