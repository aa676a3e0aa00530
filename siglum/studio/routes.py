"""The routes of docs/studio-protocol.md."""

import asyncio
import io
import json
import pathlib
import re
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import wraps
from typing import Annotated, Any, Literal

import anyio.to_thread
import numpy as np
import segno
from fastapi import APIRouter, Body, Depends, Path, Query, Request
from pydantic import AfterValidator, Field, StrictBool, StrictInt
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from siglum.images import characters, charsets, strokes
from siglum.images.cache import Content
from siglum.images.studio_set import Entry
from siglum.recogniser import find
from siglum.studio import classroom, exchange, store, workers
from siglum.studio.snapshot import Ink, Json, Studio
from siglum.studio.store import NewDrawing, StudioError

NEWS_SECONDS = 0.2  # between two looks for a new version
ALIVE_SECONDS = 15.0  # after which a silent stream sends a comment
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM")  # of images

router = APIRouter()
Id = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Author = Annotated[str, Field(max_length=store.MAX_NAME), AfterValidator(store.clean_name)]
ClassName = Annotated[str, Field(max_length=store.MAX_NAME), AfterValidator(store.class_name)]
Split = Literal["train", "test"]
Handler = Callable[..., Json | None]


class Call:
    """The set that a request is about, and the browser that it comes from."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.studio: Studio = request.app.state.studio
        self.store = self.studio.store
        self.classroom: classroom.Classroom = request.app.state.classroom
        self.visitor: classroom.Visitor = request.scope["siglum_visitor"]
        self.session = self.visitor.session
        self.workers: workers.Workers = request.app.state.workers

    def state(self) -> Json:
        """Return the current state; most of it is the same for everybody."""
        own: Json = {"title": self.studio.title, "set_id": self.store.set_id}
        for word in ("undo", "redo"):
            event = self.store.last_event(word, self.session)
            own[word] = event and {"event": event.number, "description": event.description}
        now, name = self.studio.current.json, self.visitor.name
        own["classroom"] = self.classroom.describe(self.visitor)
        if self.visitor.role == "pupil":  # how well others do is the teacher's business
            own["authors"] = [one for one in now["authors"] if one["name"] == name]
        return now | own

    def save(self, ink: Ink, new: NewDrawing) -> Json:
        """Save a drawing; return its id, and for a test drawing the prediction."""
        self.store.add_drawing(new, self.session)
        self.studio.inks.setdefault(new.id, ink)
        facts = self.studio.update().drawings.get(new.id, {})  # none if it is sent again, deleted
        names = ("prediction", "rejected", "correct") if facts.get("split") == "test" else ()
        return {"id": new.id} | {name: facts[name] for name in names}

    def check_owner(self, ids: Sequence[str]) -> None:
        """Raise StudioError if a pupil would change a drawing by somebody else."""
        if self.visitor.role == "pupil" and not self.store.drawings_of(self.session) >= {*ids}:
            raise StudioError(403, "This drawing is somebody else's. Choose your own drawings.")

    def download_as(self, ending: str) -> dict[str, str]:
        """Return headers by which the browser saves a file under the set's name."""
        name = re.sub("[^A-Za-z0-9_-]+", "", self.studio.title) or "my-signs"
        return {"Content-Disposition": f'attachment; filename="{name}{ending}"'}


Upload = Annotated[bytes, Body()]


def _check_image(content: Upload) -> bytes:
    if not content.startswith(SIGNATURES):
        raise StudioError(422, "Cannot read this image. Use PNG, JPEG, WebP, GIF or BMP.")
    return content


This = Annotated[Call, Depends(Call)]
Flag = Annotated[StrictBool, Body()]
Image = Annotated[bytes, Depends(_check_image)]
ClassId = Annotated[Id, Path(alias="class")]
Drawing = Annotated[Json, Body()]  # `strokes.parse` checks it
Name = Annotated[ClassName, Body(embed=True)]
PupilName = Annotated[str, AfterValidator(classroom.pupil_name), Body(embed=True)]
Output = Annotated[str, AfterValidator(characters.check_output), Body(embed=True)]
Names = Annotated[list[ClassName], Body(embed=True, min_length=1, max_length=store.MAX_CLASSES)]
Ids = Annotated[list[Id], Body(min_length=1, max_length=store.MAX_DRAWINGS)]
Groups = Annotated[str, Body(max_length=1000)]  # to find a character in
Recent = Annotated[Sequence[str], Body(max_length=1000)]
OptionalId = Annotated[Id | None, Body()]
OptionalClass = Annotated[Id | None, Body(alias="class")]


def change(path: str) -> Callable[[Handler], Handler]:
    """Add a route for a change; it answers with the new state and what its handler returns.

    Changes wait for each other and for the fit, so they have threads of their own, and delay no
    reading.
    """

    def add(handler: Handler) -> Handler:
        @wraps(handler)
        async def answer(call: Call, **arguments: Any) -> Response:
            def run() -> Response:
                more = handler(call=call, **arguments) or {}
                call.studio.update()
                return JSONResponse({"state": call.state(), **more})

            return await anyio.to_thread.run_sync(run, limiter=call.request.app.state.writes)

        router.post(path, response_model=None)(answer)
        return handler

    return add


@router.get("/api/state")
def _get_state(call: This) -> Response:
    return JSONResponse(call.state())


@router.get("/api/events")
async def _stream_events(call: This) -> Response:
    async def versions() -> AsyncIterator[str]:
        sent, at = -1, time.monotonic()
        while not call.request.app.state.server.should_exit:
            call.classroom.note_presence(call.visitor)
            version = call.studio.current.version
            if version != sent or time.monotonic() - at > ALIVE_SECONDS:
                yield f"data: {version}\n\n" if version != sent else ": nothing new\n\n"
                sent, at = version, time.monotonic()
            await asyncio.sleep(NEWS_SECONDS)

    return StreamingResponse(versions(), media_type="text/event-stream")


@router.post("/api/predict")
def _predict(drawing: Drawing, call: This, heatmap: Flag = False) -> Response:
    ink, report = call.workers.run(workers.read_sign, strokes.parse(drawing))
    size = f"{100 * report.width:.0f} x {100 * report.height:.0f} % of the pad"
    note = f"Your drawing is {size}; scaled to {100 * report.scale:.0f} % and centred."
    notes = ["Nothing is drawn yet."] if report.empty else [*report.warnings(), note]
    return JSONResponse(call.studio.current.describe(ink, notes, heatmap))


@router.post("/api/predict/image")
def _predict_image(image: Image, call: This, heatmap: bool = False) -> Response:
    photo, signs = call.workers.run(workers.read_photo, image)
    now, heatmap = call.studio.current, heatmap and len(signs) == 1
    photo["signs"] = [facts | now.describe(ink, notes, heatmap) for facts, ink, notes in signs]
    return JSONResponse(photo)


@router.post("/api/find")
def _find(drawing: Drawing, call: This, within: Groups = "", recent: Recent = ()) -> list[Json]:
    return _rank(call, strokes.parse(drawing), within, recent)


@router.post("/api/find/image")
def _find_image(image: Image, call: This, within: str = "", recent: str = "") -> list[Json]:
    return _rank(call, image, within, recent)


def _rank(call: Call, content: Content, within: str, recent: Sequence[str]) -> list[Json]:
    ink, report = call.workers.run(workers.read_to_find, content)
    if report.empty:
        raise StudioError(422, "No sign found in this picture. Try more light or a thicker pen.")
    matches = find.rank(ink.features, within=within or None, recent=recent)
    return [match.to_dict() for match in matches]


@router.get("/api/find/name")
def _find_name(name: Annotated[str, Query(max_length=100)], within: str = "") -> list[Json]:
    return [match.to_dict() for match in find.search(name, within=within or None)]


@router.get("/api/find/groups")
def _list_groups(call: This) -> Json:
    known, groups = frozenset(call.studio.backbone.classes), charsets.sets().items()
    return {name: "".join(c for c in members if c in known) for name, members in groups}


@change("/api/classes")
def _add_classes(names: Names, call: This, latex: Flag = False) -> Json:
    new = {*names}.difference(call.store.state.classes.values())
    texts = charsets.latex_outputs(new) if latex else {}
    return {"ids": call.store.add_classes(names, call.session, texts)}


@change("/api/classes/{class}/rename")
def _rename_class(class_: ClassId, name: Name, call: This) -> None:
    call.store.rename_class(class_, name, call.session)


@change("/api/classes/{class}/output")
def _set_output(class_: ClassId, output: Output, call: This) -> None:
    call.store.set_output(class_, output, call.session)


@change("/api/classes/{class}/merge")
def _merge_class(class_: ClassId, into: Annotated[Id | None, Body(embed=True)], call: This) -> None:
    call.store.remove_class(class_, into, call.session)


@change("/api/drawings")
def _add_drawing(
    call: This,
    class_: Annotated[Id, Body(alias="class")],
    drawing: Drawing,
    split: Annotated[Split, Body()] = "train",
    author: Annotated[Author, Body()] = "",
    id: OptionalId = None,
    set_id: OptionalId = None,
) -> Json:
    if set_id not in (None, call.store.set_id):
        raise StudioError(412, "This drawing was made for another set of signs.")
    points = strokes.parse(drawing)
    ink, report, png = call.workers.run(workers.read_to_save, points)
    if report.empty:
        raise StudioError(422, "There is no ink on the pad to save.")
    facts = Entry(class_, call.visitor.name or author, split, store.timestamp(), False)
    text = json.dumps(strokes.to_json(points))
    new = NewDrawing(facts, text, png, id or secrets.token_hex(8))
    return call.save(ink, new)


@change("/api/drawings/image")
def _add_image(
    image: Image,
    call: This,
    class_: Annotated[Id, Query(alias="class")],
    split: Split = "train",
    author: Author = "",
) -> Json:
    ink, report, png = call.workers.run(workers.read_to_save, image)
    if report.empty:
        raise StudioError(422, "There is no sign in this picture to save.")
    if report.characters > 1:
        message = f"This picture shows about {report.characters} signs. Crop it to one."
        raise StudioError(422, message)
    now = call.studio.current
    if any(np.array_equal(now.inks[id].ink, ink.ink) for id in now.state.select(class_)):
        raise StudioError(409, "You have saved this one already.")
    facts = Entry(class_, call.visitor.name or author, split, store.timestamp(), True)
    return call.save(ink, NewDrawing(facts, None, png))


@change("/api/drawings/move")
def _move_drawings(drawings: Ids, class_: OptionalClass, call: This) -> None:
    call.check_owner(drawings)
    call.store.move_drawings([*dict.fromkeys(drawings)], class_, call.session)


@router.get("/api/drawings")
def _list_drawings(call: This) -> Response:
    drawings = [*call.studio.current.drawings.values()]
    if call.visitor.role == "pupil":
        own = call.store.drawings_of(call.session)
        others = {"own": False, "author": ""}
        drawings = [one | ({"own": True} if one["id"] in own else others) for one in drawings]
    return JSONResponse(drawings)


@router.get("/api/drawings/{drawing}.png")
def _get_image(drawing: Id, call: This) -> Response:
    if drawing not in call.store.state.drawings:
        raise StudioError(404, "That drawing no longer exists.")
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    return Response(call.store.content(drawing)[1], media_type="image/png", headers=headers)


@change("/api/undo")
@change("/api/redo")
def _revert(event: Annotated[StrictInt, Body(embed=True, ge=1)], call: This) -> None:
    call.store.revert(call.request.url.path[-4:], event, call.session)


@router.post("/api/test/next")
def _choose_test(call: This) -> Json:
    now = call.studio.current
    if now.fitted is None:
        raise StudioError(409, "A test needs two signs. Add them under Teach.")
    counts = Counter(now.state.drawings[id].label for id in now.state.select(split="test"))
    fewest = min(counts[id] for id in now.class_ids)
    id = secrets.choice([id for id in now.class_ids if counts[id] == fewest])
    return {"class": id, "name": now.state.classes[id]}


@change("/api/import")
def _import(content: Upload, call: This) -> Json:
    return exchange.import_upload(call.studio, content, call.session)


@router.get("/api/import")
def _get_import(call: This) -> Json:
    done, total = call.studio.import_progress
    return {"running": call.studio.importing.locked(), "done": done, "total": total}


@router.post("/api/import/cancel")
def _cancel_import(call: This) -> Json:
    call.studio.import_cancelled.set()
    return {}


@router.get("/api/bundle")
def _get_bundle(call: This) -> Response:
    content = exchange.export_bundle(call.studio)
    return Response(content, 200, call.download_as(".siglum"), "application/octet-stream")


@router.get("/api/drawings.zip")
def _get_zip(call: This) -> Response:
    folder = tempfile.TemporaryDirectory()
    path = pathlib.Path(folder.name, "drawings.zip")
    exchange.write_set(call.store.folder, path)
    task = BackgroundTask(folder.cleanup)
    return FileResponse(path, headers=call.download_as("-drawings.zip"), background=task)


@router.get("/api/report")
def _get_report(call: This) -> Response:
    return Response(exchange.report_page(call.studio), 200, call.download_as(".html"), "text/html")


@router.get("/api/classroom")
def _get_classroom(call: This) -> Json:
    return call.classroom.overview()


@change("/api/classroom")
def _set_rules(rules: classroom.Rules, call: This) -> None:
    call.classroom.set_rules(rules)


@change("/api/classroom/join")
def _join(name: PupilName, call: This) -> None:
    call.visitor = call.classroom.join(call.visitor, name)


@change("/api/classroom/remove")
def _remove_pupil(name: Annotated[str, Body(embed=True)], call: This) -> None:
    call.classroom.remove(name)


@change("/api/classroom/end")
def _end_lesson(call: This) -> None:
    call.classroom.end()


@router.get("/api/classroom/qr.svg")
def _get_qr_code(call: This) -> Response:
    file, code = io.BytesIO(), segno.make(call.classroom.overview()["link"], micro=False)
    code.save(file, kind="svg", border=3, light="#fff", omitsize=True)
    return Response(file.getvalue(), media_type="image/svg+xml")


@router.get("/api/classroom/pupils.csv")
def _get_table(call: This) -> Response:
    content = "\ufeff" + call.classroom.table()  # by the mark, spreadsheets know that it is UTF-8
    return Response(content, 200, call.download_as("-class.csv"), "text/csv")
