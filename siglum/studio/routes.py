"""The routes of docs/studio-protocol.md."""

import asyncio
import json
import re
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.background import BackgroundTask
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
Handler = Callable[..., Json | None]


def change(path: str, **options: Any) -> Callable[[Handler], Handler]:
    """Add a route for a change; it answers with the new state and what its handler returns."""

    def add(handler: Handler) -> Handler:
        @wraps(handler)
        def answer(call: Call, **arguments: Any) -> Response:
            more = handler(call=call, **arguments) or {}
            call.studio.update()
            rest = _text(more)[1:]
            return _json('{"state":' + call.state() + ("," if more else "") + rest)

        router.post(path, tags=["change"], response_model=None, **options)(answer)
        return handler

    return add


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json(value: Any) -> Response:
    """Return a value as it is; FastAPI would look at every part of it first."""
    text = value if isinstance(value, str) else _text(value)
    return Response(text, media_type="application/json")


@dataclass(frozen=True)
class Call:
    """The set that a request is about, and the browser that it comes from."""

    studio: Studio
    session: str | None  # None where all browsers are the same person's

    def state(self) -> str:
        """Return the current state as JSON; most of it is the same for everybody."""
        shared, own = self.studio.shared_state(serializers.shared_state), {}
        for word in ("undo", "redo"):
            event = self.studio.store.last_event(word, self.session)
            own[word] = event and {"event": event.number, "description": event.description}
        return f"{shared[:-1]},{_text(own)[1:]}"

    def saved(self, id: str) -> Json:
        """Return the id of a saved drawing; for a test drawing with its prediction."""
        now = self.studio.update()
        if id not in now.state.drawings or now.state.drawings[id].split == "train":
            return {"id": id}
        facts = serializers.drawing(now, id)
        return {name: facts[name] for name in ("id", "prediction", "rejected", "correct")}

    def attachment(self, ending: str) -> dict[str, str]:
        """Return the header that makes a browser save a file under the set's name."""
        name = re.sub("[^A-Za-z0-9_-]+", "", self.studio.title) or "my-signs"
        return {"Content-Disposition": f'attachment; filename="{name}{ending}"'}


def _call(request: Request) -> Call:
    return Call(request.app.state.studio, request.scope["siglum_session"])


async def _upload(request: Request) -> tuple[bytes, str]:
    """Return the body and its content type."""
    content_type = request.headers["content-type"].partition(";")[0].strip().lower()
    return await request.body(), content_type


def _binary(types: tuple[str, ...]) -> Json:
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in types}
    return {"requestBody": {"content": content, "required": True}}


This = Annotated[Call, Depends(_call)]
Upload = Annotated[tuple[bytes, str], Depends(_upload)]
ClassId = Annotated[Id, Path(alias="class")]
IMAGE, FILE = _binary(security.IMAGE_TYPES), _binary(security.FILE_TYPES)


@router.get("/api/state")
def get_state(call: This) -> Response:
    """Return the state."""
    return _json(call.state())


@router.get("/api/events", response_class=StreamingResponse)
async def events(request: Request, call: This) -> Response:
    """Send each new version, the current one first."""

    async def versions() -> AsyncIterator[str]:
        sent, at = -1, time.monotonic()
        while not request.app.state.closing.is_set():
            version = call.studio.current.version
            if version != sent or time.monotonic() - at > ALIVE_SECONDS:
                yield f"data: {version}\n\n" if version != sent else ": nothing new\n\n"
                sent, at = version, time.monotonic()
            await asyncio.sleep(NEWS_SECONDS)

    return StreamingResponse(versions(), media_type="text/event-stream")


@router.post("/api/predict")
def predict(body: schemas.Predict, call: This) -> Response:
    """Predict a drawing."""
    start = time.perf_counter()
    image = drawings.stroke_image(strokes.parse(body.drawing))
    ink, report = drawings.extract(call.studio.backbone, image)
    notes = drawings.drawing_notes(report)
    return _json(serializers.prediction(call.studio.current, ink, notes, body.heatmap, start))


@router.post("/api/predict/image", openapi_extra=IMAGE)
def predict_image(upload: Upload, call: This, heatmap: bool = False) -> Response:
    """Predict the sign in an image, or every sign on a page."""
    start, backbone = time.perf_counter(), call.studio.backbone
    image = drawings.decode_upload(*upload)
    now = call.studio.current
    ink, report = drawings.extract(backbone, image)
    sideways, signs, notes = False, [(report.box, 0, ink)], report.warnings()
    if report.empty:
        signs = []
    elif report.characters > 1:
        signs, sideways = drawings.extract_page(backbone, image)
        notes, heatmap = [], False
    height, width = image.shape[1:]
    predictions = [
        {"box": box, "row": row, **serializers.prediction(now, one, notes, heatmap, start)}
        for box, row, one in signs
    ]
    return _json({"width": width, "height": height, "sideways": sideways, "signs": predictions})


@change("/api/classes")
def add_classes(body: schemas.AddClasses, call: This) -> Json:
    """Add classes, or return those that exist."""
    return {"ids": call.studio.store.add_classes(body.names, call.session)}


@change("/api/classes/{class}/rename")
def rename_class(class_: ClassId, body: schemas.Rename, call: This) -> None:
    """Rename a class."""
    call.studio.store.rename_class(class_, body.name, call.session)


@change("/api/classes/{class}/merge")
def merge_class(class_: ClassId, body: schemas.Merge, call: This) -> None:
    """Merge a class into another one."""
    call.studio.store.remove_class(class_, body.into, call.session)


@change("/api/classes/{class}/delete")
def delete_class(class_: ClassId, body: schemas.Schema, call: This) -> None:
    """Delete a class and its drawings."""
    call.studio.store.remove_class(class_, None, call.session)


@change("/api/drawings")
def add_drawing(body: schemas.AddDrawing, call: This) -> Json:
    """Save a drawing."""
    store = call.studio.store
    if body.set_id not in (None, store.set_id):
        raise StudioError("other_set", "This drawing was made for another set of signs.")
    drawing = strokes.parse(body.drawing)
    id = body.id or secrets.token_hex(8)
    if not store.has(id):  # else sent again, whatever became of its class
        image = drawings.stroke_image(drawing)
        ink, report = drawings.extract(call.studio.backbone, image)
        if report.empty:
            raise StudioError("no_ink", "There is no ink on the pad to save.")
        facts = Entry(body.class_, body.author, body.split, timestamp(), False)
        new = NewDrawing(facts, _text(strokes.to_json(drawing)), drawings.to_png(image), id)
        call.studio.remember(id, ink)
        store.add_drawing(new, call.session, body.replaces)
    return call.saved(id)


@change("/api/drawings/image", openapi_extra=IMAGE)
def add_image(
    upload: Upload,
    call: This,
    class_: Annotated[Id, Query(alias="class")],
    split: Split = "train",
    author: schemas.Author = "",
) -> Json:
    """Save an image of one sign."""
    call.studio.store.class_name(class_)
    image = drawings.decode_upload(*upload)
    ink, report = drawings.extract(call.studio.backbone, image)
    if report.empty:
        raise StudioError("no_ink", "There is no sign in this picture to save.")
    if report.characters > 1:
        message = f"This picture shows about {report.characters} signs. Crop it to one."
        raise StudioError("several_signs", message)
    now = call.studio.current
    if any(np.array_equal(now.inks[id].ink, ink.ink) for id in now.state.select(class_)):
        raise StudioError("already_saved", "You have saved this one already.")
    facts = Entry(class_, author, split, timestamp(), True)
    new = NewDrawing(facts, None, drawings.to_png(image))
    call.studio.remember(new.id, ink)
    call.studio.store.add_drawing(new, call.session)
    return call.saved(new.id)


@change("/api/drawings/move")
def move_drawings(body: schemas.Move, call: This) -> None:
    """Move drawings to another class."""
    call.studio.store.move_drawings(body.drawings, body.class_, call.session)


@change("/api/drawings/delete")
def delete_drawings(body: schemas.Drawings, call: This) -> None:
    """Delete drawings."""
    call.studio.store.move_drawings(body.drawings, None, call.session)


@router.get("/api/drawings")
def list_drawings(
    call: This,
    class_: Annotated[Id | None, Query(alias="class")] = None,
    split: Split | None = None,
    incorrect: bool = False,
) -> Response:
    """Return drawings, in the order in which they were saved."""
    now = call.studio.current
    if class_ is not None:
        call.studio.store.class_name(class_)
    facts = [serializers.drawing(now, id) for id in now.state.select(class_, split)]
    return _json([one for one in facts if not incorrect or one["correct"] is False])


@router.get("/api/drawings/{drawing}.png", response_class=Response)
def get_image(drawing: Id, call: This) -> Response:
    """Return the image of a drawing."""
    call.studio.store.drawing(drawing)
    image = call.studio.store.content(drawing)[1]
    return Response(image, media_type="image/png", headers=FOREVER)


@change("/api/undo")
def undo(body: schemas.Revert, call: This) -> None:
    """Undo the last change."""
    call.studio.store.revert("undo", body.event, call.session)


@change("/api/redo")
def redo(body: schemas.Revert, call: This) -> None:
    """Redo the change that was undone last."""
    call.studio.store.revert("redo", body.event, call.session)


@router.post("/api/test/next")
def next_test(body: schemas.Schema, call: This) -> Json:
    """Choose a class to draw as a test: one of those with the fewest test drawings."""
    now = call.studio.current
    if now.fitted is None:
        raise StudioError("conflict", "A test needs two signs. Add them under Teach.")
    counts = Counter(now.state.drawings[id].label for id in now.state.select(split="test"))
    fewest = min(counts[id] for id in now.class_ids)
    id = secrets.choice([id for id in now.class_ids if counts[id] == fewest])
    return {"class": id, "name": now.state.classes[id]}


@change("/api/import", openapi_extra=FILE)
def import_file(upload: Upload, call: This, request: Request) -> Json:
    """Import a bundle or a zip of images."""
    job = request.app.state.import_job
    return vars(import_.import_bytes(call.studio, upload[0], call.session, job))


@router.get("/api/import")
def import_progress(request: Request) -> Json:
    """Return how far an import is."""
    job: import_.Job = request.app.state.import_job
    return {"running": job.lock.locked(), "done": job.done, "total": job.total}


@router.post("/api/import/cancel")
def cancel_import(body: schemas.Schema, request: Request) -> Json:
    """Stop an import; nothing of it is added."""
    request.app.state.import_job.cancelled.set()
    return {}


@router.get("/api/bundle", response_class=Response)
def get_bundle(call: This) -> Response:
    """Return the recogniser as a file."""
    content, headers = export.bundle(call.studio.current), call.attachment(".siglum")
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/api/drawings.zip", response_class=StreamingResponse)
def get_zip(call: This) -> Response:
    """Return all drawings as a zip."""
    store, headers = call.studio.store, call.attachment("-drawings.zip")
    file = tempfile.SpooledTemporaryFile(SPOOL)  # noqa: SIM115 - closed once it is sent
    export.write_zip(file, store.state, store.content)
    file.seek(0)
    chunks = iter(partial(file.read, CHUNK), b"")
    return StreamingResponse(chunks, 200, headers, "application/zip", BackgroundTask(file.close))


@router.get("/api/report", response_class=Response)
def get_report(call: This) -> Response:
    """Return the report as a page that loads and runs nothing."""
    page, policy = report_page(call.studio, call.studio.current)
    headers = call.attachment(".html") | {"Content-Security-Policy": policy}
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)
