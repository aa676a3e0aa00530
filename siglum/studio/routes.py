"""The routes of docs/studio-protocol.md."""

import asyncio
import json
import re
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from siglum.images import strokes
from siglum.images.studio_set import Entry
from siglum.studio import drawings, export, import_, schemas, security, serializers
from siglum.studio.errors import STATUS, StudioError
from siglum.studio.report import report_page
from siglum.studio.schemas import Id, Split
from siglum.studio.serializers import Json
from siglum.studio.state import Studio
from siglum.studio.store import NewDrawing, timestamp

NEWS_SECONDS = 0.2  # between two looks for a new version
ALIVE_SECONDS = 15.0  # after which a silent stream sends a comment
CHUNK, SPOOL = 1 << 16, 1 << 24  # bytes of a file that are sent at once; that stay in memory
FOREVER = {"Cache-Control": "private, max-age=86400, immutable"}

REFUSALS: dict[int | str, Json] = {status: {"model": dict} for status in STATUS.values()}
router = APIRouter(route_class=schemas.Route, responses=REFUSALS)
read, ask = router.get, router.post
change = partial(router.post, tags=["change"])


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json(value: Any) -> Response:
    """Return a value as it is; FastAPI would look at every part of it first."""
    text = value if isinstance(value, str) else _text(value)
    return Response(text, media_type="application/json")


@dataclass
class Call:
    """The set that a request is about, and the browser that it comes from."""

    studio: Studio
    session: str | None

    def state(self) -> str:
        """Return the current state as JSON; most of it is the same for everybody."""
        shared = self.studio.shared_state(serializers.shared_state)
        own = _text(serializers.history(self.studio.store, self.session))
        return f"{shared[:-1]},{own[1:]}"

    def changed(self, **more: Any) -> Response:
        """Return the state after a change, and more."""
        self.studio.update()
        rest = _text(more)[1:]
        return _json('{"state":' + self.state() + ("," if more else "") + rest)

    def saved(self, id: str) -> Response:
        """Return the state after a drawing; for a test drawing with its prediction."""
        now = self.studio.update()
        more: Json = {}
        if id in now.state.drawings and now.state.drawings[id].split == "test":
            facts = serializers.drawing(now, id)
            more = {name: facts[name] for name in ("prediction", "rejected", "correct")}
        return self.changed(id=id, **more)

    def attachment(self, ending: str) -> dict[str, str]:
        """Return the header that makes a browser save a file under the set's name."""
        name = re.sub("[^A-Za-z0-9_-]+", "", self.studio.title) or "my-signs"
        return {"Content-Disposition": f'attachment; filename="{name}{ending}"'}


def _call(request: Request) -> Call:
    return Call(request.app.state.studio, security.session_of(request.scope))


def _binary(types: tuple[str, ...]) -> Json:
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in types}
    return {"requestBody": {"content": content, "required": True}}


This = Annotated[Call, Depends(_call)]
ClassId = Annotated[Id, Path(alias="class")]
ClassQuery = Annotated[Id | None, Query(alias="class")]
IMAGE, FILE = _binary(security.IMAGE_TYPES), _binary(security.FILE_TYPES)


@read("/api/state")
def get_state(this: This) -> Response:
    """Return the state."""
    return _json(this.state())


@read("/api/events", response_class=StreamingResponse)
async def events(request: Request, this: This) -> Response:
    """Send each new version, the current one first."""

    async def versions() -> AsyncIterator[str]:
        sent, at = -1, time.monotonic()
        while not request.app.state.closing.is_set():
            version = this.studio.current.version
            if version != sent or time.monotonic() - at > ALIVE_SECONDS:
                yield f"data: {version}\n\n" if version != sent else ": nothing new\n\n"
                sent, at = version, time.monotonic()
            await asyncio.sleep(NEWS_SECONDS)

    return StreamingResponse(versions(), media_type="text/event-stream")


@ask("/api/predict")
def predict(body: schemas.Predict, this: This) -> Response:
    """Predict a drawing."""
    start = time.perf_counter()
    image = drawings.stroke_image(strokes.parse(body.drawing))
    ink, report = drawings.extract(this.studio.backbone, image)
    notes = drawings.drawing_notes(report)
    return _json(serializers.prediction(this.studio.current, ink, notes, body.heatmap, start))


@ask("/api/predict/image", openapi_extra=IMAGE)
async def predict_image(request: Request, this: This, heatmap: bool = False) -> Response:
    """Predict the sign in an image, or every sign on a page."""
    body = await request.body()
    return await run_in_threadpool(_predict_image, this.studio, body, _type(request), heatmap)


def _type(request: Request) -> str:
    return request.headers["content-type"].partition(";")[0].strip().lower()


def _predict_image(studio: Studio, body: bytes, content_type: str, heat: bool) -> Response:
    start = time.perf_counter()
    image = drawings.decode_upload(body, content_type)
    now = studio.current
    ink, report = drawings.extract(studio.backbone, image)
    sideways, signs = False, [(report.box, 0, ink)]
    notes = report.warnings()
    if report.empty:
        signs = []
    elif report.characters > 1:
        signs, sideways = drawings.extract_page(studio.backbone, image)
        notes, heat = [], False
    height, width = image.shape[1:]
    predictions = [
        {"box": box, "row": row, **serializers.prediction(now, one, notes, heat, start)}
        for box, row, one in signs
    ]
    return _json({"width": width, "height": height, "sideways": sideways, "signs": predictions})


@change("/api/classes")
def add_classes(body: schemas.AddClasses, this: This) -> Response:
    """Add classes, or return those that exist."""
    return this.changed(ids=this.studio.store.add_classes(body.names, this.session))


@change("/api/classes/{class}/rename")
def rename_class(class_: ClassId, body: schemas.Rename, this: This) -> Response:
    """Rename a class."""
    this.studio.store.rename_class(class_, body.name, this.session)
    return this.changed()


@change("/api/classes/{class}/merge")
def merge_class(class_: ClassId, body: schemas.Merge, this: This) -> Response:
    """Merge a class into another one."""
    this.studio.store.remove_class(class_, body.into, this.session)
    return this.changed()


@change("/api/classes/{class}/delete")
def delete_class(class_: ClassId, body: schemas.Schema, this: This) -> Response:
    """Delete a class and its drawings."""
    this.studio.store.remove_class(class_, None, this.session)
    return this.changed()


@change("/api/drawings")
def add_drawing(body: schemas.AddDrawing, this: This) -> Response:
    """Save a drawing."""
    store = this.studio.store
    if body.set_id not in (None, store.set_id):
        raise StudioError("other_set", "This drawing was made for another set of signs.")
    drawing = strokes.parse(body.drawing)
    id = body.id or secrets.token_hex(8)
    if store.has(id):  # whatever became of its class
        return this.saved(id)
    image = drawings.stroke_image(drawing)
    ink, report = drawings.extract(this.studio.backbone, image)
    if report.empty:
        raise StudioError("no_ink", "There is no ink on the pad to save.")
    facts = Entry(body.class_, body.author, body.split, timestamp(), False)
    new = NewDrawing(facts, _text(strokes.to_json(drawing)), drawings.to_png(image), id)
    this.studio.remember(id, ink)
    store.add_drawing(new, this.session, body.replaces)
    return this.saved(id)


@change("/api/drawings/image", openapi_extra=IMAGE)
async def add_image(
    request: Request,
    this: This,
    class_: Annotated[Id, Query(alias="class")],
    split: Split = "train",
    author: schemas.Author = "",
) -> Response:
    """Save an image of one sign."""
    facts = Entry(class_, author, split, timestamp(), True)
    return await run_in_threadpool(_add_image, this, await request.body(), _type(request), facts)


def _add_image(this: Call, body: bytes, content_type: str, facts: Entry) -> Response:
    this.studio.store.class_name(facts.label)
    image = drawings.decode_upload(body, content_type)
    ink, report = drawings.extract(this.studio.backbone, image)
    if report.empty:
        raise StudioError("no_ink", "There is no sign in this picture to save.")
    if report.characters > 1:
        message = f"This picture shows about {report.characters} signs. Crop it to one."
        raise StudioError("several_signs", message)
    now = this.studio.current
    if any(np.array_equal(now.inks[id].ink, ink.ink) for id in now.state.select(facts.label)):
        raise StudioError("already_saved", "You have saved this one already.")
    new = NewDrawing(facts, None, drawings.to_png(image))
    this.studio.remember(new.id, ink)
    this.studio.store.add_drawing(new, this.session)
    return this.saved(new.id)


@change("/api/drawings/move")
def move_drawings(body: schemas.Move, this: This) -> Response:
    """Move drawings to another class."""
    this.studio.store.move_drawings([*dict.fromkeys(body.drawings)], body.class_, this.session)
    return this.changed()


@change("/api/drawings/delete")
def delete_drawings(body: schemas.Drawings, this: This) -> Response:
    """Delete drawings."""
    this.studio.store.move_drawings([*dict.fromkeys(body.drawings)], None, this.session)
    return this.changed()


@read("/api/drawings")
def list_drawings(
    this: This, class_: ClassQuery = None, split: Split | None = None, incorrect: bool = False
) -> Response:
    """Return drawings, in the order in which they were saved."""
    now = this.studio.current
    if class_ is not None:
        this.studio.store.class_name(class_)
    facts = [serializers.drawing(now, id) for id in now.state.select(class_, split)]
    return _json([one for one in facts if not incorrect or one["correct"] is False])


@read("/api/drawings/{drawing}.png", response_class=Response)
def get_image(drawing: Id, this: This) -> Response:
    """Return the image of a drawing."""
    this.studio.store.drawing(drawing)
    image = this.studio.store.content(drawing)[1]
    return Response(image, media_type="image/png", headers=FOREVER)


@change("/api/undo")
def undo(body: schemas.Revert, this: This) -> Response:
    """Undo the last change."""
    this.studio.store.revert("undo", body.event, this.session)
    return this.changed()


@change("/api/redo")
def redo(body: schemas.Revert, this: This) -> Response:
    """Redo the change that was undone last."""
    this.studio.store.revert("redo", body.event, this.session)
    return this.changed()


@ask("/api/test/next")
def next_test(body: schemas.Schema, this: This) -> Json:
    """Choose a class to draw as a test: one of those with the fewest test drawings."""
    now = this.studio.current
    if now.fitted is None:
        raise StudioError("conflict", "A test needs two signs. Add them under Teach.")
    counts = Counter(now.state.drawings[id].label for id in now.state.select(split="test"))
    fewest = min(counts[id] for id in now.class_ids)
    id = secrets.choice([id for id in now.class_ids if counts[id] == fewest])
    return {"class": id, "name": now.state.classes[id]}


@change("/api/import", openapi_extra=FILE)
async def import_file(request: Request, this: This) -> Response:
    """Import a bundle or a zip of images."""
    body, job = await request.body(), request.app.state.import_job
    result = await run_in_threadpool(import_.import_bytes, this.studio, body, this.session, job)
    return await run_in_threadpool(partial(this.changed, **vars(result)))


@read("/api/import")
def import_progress(request: Request) -> Json:
    """Return how far an import is."""
    job: import_.Job = request.app.state.import_job
    return {"running": job.lock.locked(), "done": job.done, "total": job.total}


@ask("/api/import/cancel")
def cancel_import(body: schemas.Schema, request: Request) -> Json:
    """Stop an import; nothing of it is added."""
    request.app.state.import_job.cancelled.set()
    return {}


@read("/api/bundle", response_class=Response)
def get_bundle(this: This) -> Response:
    """Return the recogniser as a file."""
    content, headers = export.bundle(this.studio.current), this.attachment(".siglum")
    return Response(content, media_type="application/octet-stream", headers=headers)


@read("/api/drawings.zip", response_class=StreamingResponse)
def get_zip(this: This) -> Response:
    """Return all drawings as a zip."""
    store, headers = this.studio.store, this.attachment("-drawings.zip")
    file = tempfile.SpooledTemporaryFile(SPOOL)  # noqa: SIM115 - closed once it is sent
    export.write_zip(file, store.state, store.content)
    file.seek(0)
    chunks = iter(partial(file.read, CHUNK), b"")
    return StreamingResponse(chunks, 200, headers, "application/zip", BackgroundTask(file.close))


@read("/api/report", response_class=Response)
def get_report(this: This) -> Response:
    """Return the report as a page that loads and runs nothing."""
    page, policy = report_page(this.studio, this.studio.current)
    headers = this.attachment(".html") | {"Content-Security-Policy": policy}
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)
