"""A REST API for one recogniser, without the Studio's page and sets: docs/service.md."""

import asyncio
import secrets
from collections.abc import Sequence
from importlib import resources
from typing import Annotated, Literal

import jinja2
import numpy as np
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, File, Request, UploadFile
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from siglum import __version__
from siglum.images.cache import Content
from siglum.images.strokes import MAX_POINTS, MAX_STROKES, Drawing, fit_to_pad, parse
from siglum.studio import app as studio
from siglum.studio.routes import check_image
from siglum.studio.snapshot import Json
from siglum.studio.store import StudioError
from siglum.studio.workers import Workers, ping, recognise

MAX_BATCH = 100  # images or drawings of one request
BODIES = {"/recognise": studio.IMAGE, "/recognise/files": ((studio.FORM,), studio.FILE[1])}
OPEN = ("/health", "/docs", "/openapi.json")  # without a token
STYLE = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}  # no script

Coordinate = Annotated[float, Field(strict=True, ge=-1e6, le=1e6)]
Point = Annotated[list[Coordinate], Field(min_length=2, max_length=4)]
Stroke = Annotated[list[Point], Field(min_length=1, max_length=MAX_POINTS)]


class Strokes(BaseModel, extra="forbid"):
    """Pen strokes of one sign: lists of points [x, y], y downwards, in any unit.

    With `version` 1 points are [x, y, milliseconds, pressure], x and y from 0 to 1 across a pad of
    `aspect` (width by height), as the Studio's.
    """

    strokes: Annotated[list[Stroke], Field(min_length=1, max_length=MAX_STROKES)]
    version: Literal[1] | None = None
    aspect: float = 1.0

    def to_drawing(self) -> Drawing:
        """Return the checked drawing; DataError if it breaks the format of its version."""
        if self.version is not None:
            return parse(self.model_dump())
        return fit_to_pad([np.array([point[:2] for point in one]) for one in self.strokes])


class Batch(BaseModel, extra="forbid"):
    """Drawings of one sign each."""

    drawings: Annotated[list[Strokes], Field(min_length=1, max_length=MAX_BATCH)]


class Recognition(BaseModel):
    """The prediction for one image or drawing, as `siglum predict --json` prints it."""

    file: str | None = None
    label: str
    probability: float
    runner_up: str
    runner_up_probability: float
    inverted: bool
    prediction_set: list[str]
    rejected: bool
    warnings: list[str]
    output: str


class Unreadable(BaseModel):
    """An image that cannot be read, and why."""

    file: str | None = None
    detail: str


Answers = list[Recognition | Unreadable]
Kind = Literal["text", "latex", "typst", "html", "python"]


class Health(BaseModel):
    """The service and its recogniser are ready."""

    version: str
    classes: int


class Call:
    """A request, and the processes that answer it."""

    def __init__(self, request: Request, output: Kind = "text") -> None:
        self.workers: Workers = request.app.state.workers
        self.output = output

    async def one(self, image: Content) -> Json:
        """Recognise an image; StudioError if it cannot be read."""
        answer = await self.workers.run(recognise, image, None, self.output)
        if "detail" in answer:
            raise StudioError(422, answer["detail"])
        return answer

    async def many(self, images: Sequence[tuple[str | None, Content]]) -> list[Json]:
        """Recognise named images, as many at once as there are processes."""
        limit = asyncio.Semaphore(self.workers.count)  # so that other requests get their turn

        async def run(file: str | None, image: Content) -> Json:
            async with limit:
                return await self.workers.run(recognise, image, file, self.output)

        return await asyncio.gather(*(run(file, image) for file, image in images))


This = Annotated[Call, Depends(Call)]
router = APIRouter()


@router.get("/health")
async def check_health(request: Request) -> Health:
    """Answer when the service reads images; needs no token."""
    return Health(version=__version__, classes=await request.app.state.workers.run(ping))


@router.post("/recognise", response_model=Recognition)
async def recognise_image(image: Annotated[bytes, Depends(check_image)], call: This) -> Json:
    """Recognise one image; the body is the file."""
    return await call.one(image)


@router.post("/recognise/strokes", response_model=Recognition)
async def recognise_strokes(strokes: Strokes, call: This) -> Json:
    """Recognise pen strokes."""
    return await call.one(strokes.to_drawing())


@router.post("/recognise/files", response_model=Answers)
async def recognise_files(
    files: Annotated[list[UploadFile], File(min_length=1, max_length=MAX_BATCH)], call: This
) -> list[Json]:
    """Recognise the images of a form; each gets an answer, in their order."""
    return await call.many([(file.filename, await file.read()) for file in files])


@router.post("/recognise/batch", response_model=Answers)
async def recognise_batch(batch: Batch, call: This) -> list[Json]:
    """Recognise drawings; each gets an answer, in their order."""
    return await call.many([(None, drawing.to_drawing()) for drawing in batch.drawings])


@router.get("/docs", response_class=HTMLResponse, include_in_schema=False)
def show_docs(request: Request) -> Response:
    """Return a page about the API that needs no script and no network."""
    environment = jinja2.Environment(autoescape=True)
    package = resources.files("siglum.studio")
    template = environment.from_string(package.joinpath("service.html").read_text("utf-8"))
    css = package.joinpath("report.css").read_text("utf-8")
    return HTMLResponse(template.render(api=request.app.openapi(), css=css), headers=STYLE)


class ServiceSecurity(studio.Security):
    """A token where other machines reach the service; else requests of this machine only."""

    def _admit(self, scope: Scope, headers: Headers) -> None:
        token = self.address.token
        if token is None:
            self._check_host(headers)
            if headers.get("origin") not in (None, *self.origins):
                raise StudioError(403, "This request came from another page.")
        elif scope["path"] not in OPEN:
            sent = headers.get("authorization", "").encode()
            if not secrets.compare_digest(sent, f"Bearer {token}".encode()):
                raise StudioError(401, "Send the token: Authorization: Bearer TOKEN.")


def create_service(address: studio.Address, workers: Workers) -> uvicorn.Server:
    """Return the service's server; run it with `sockets=[address.socket]`."""
    # FastAPI's own page of docs loads scripts from elsewhere.
    app = FastAPI(
        title="Siglum",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.workers = workers
    app.include_router(router)
    studio.add_error_handlers(app)
    return studio.build_server(ServiceSecurity(app, address, BODIES))
