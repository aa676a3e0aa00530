"""The Studio as an ASGI application: its page, its programs, and what they say when they refuse."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from siglum.errors import SiglumError
from siglum.studio import analysis, routes
from siglum.studio.receive import Job
from siglum.studio.studio import Conflict, Missing, Studio
from siglum.studio.wire import said

TURNS = {  # how many at once
    "reading": 8,  # more would only be in each other's way
    "changing": 24,  # most of these wait, so that one learning serves them all
}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"


def build(studio: Studio) -> FastAPI:
    """Return the application of an open folder."""
    app = FastAPI(
        title="Siglum Studio",
        openapi_url=None,  # its pages load programs from elsewhere
        redirect_slashes=False,
        lifespan=_watched,
    )
    app.state.studio = studio
    app.state.job = Job()
    app.state.turns = {name: asyncio.Semaphore(count) for name, count in TURNS.items()}
    app.include_router(routes.reading)
    app.include_router(routes.changing)
    for name, (raw, kind) in page_files().items():
        path = "/" if name == INDEX else f"/static/{name}"
        app.add_route(path, _file(raw, kind), ["GET"], include_in_schema=False)
    app.add_exception_handler(SiglumError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    return app


def page_files() -> dict[str, tuple[bytes, str]]:
    """Return the page's files and their types, by name; no request reads a folder."""
    found = {}
    for file in resources.files("siglum.studio").joinpath("page").iterdir():
        kind = TYPES.get(f".{file.name.rpartition('.')[2]}")
        if kind is not None:
            found[file.name] = (file.read_bytes(), kind)
    return found


@asynccontextmanager
async def _watched(app: FastAPI) -> AsyncIterator[None]:
    """Analyse behind the scenes as long as requests are answered."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = sum(TURNS.values())
    closing = threading.Event()
    watching = threading.Thread(
        target=analysis.watch, args=(app.state.studio, closing), name="analysis", daemon=True
    )
    watching.start()
    yield
    closing.set()
    await asyncio.to_thread(watching.join, 2.0)


def _file(raw: bytes, kind: str):  # type: ignore[no-untyped-def]
    async def answer(request: Request) -> Response:
        return Response(raw, media_type=kind, headers={"Cache-Control": "no-cache"})

    return answer


async def _refused(request: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, Missing) else 409 if isinstance(error, Conflict) else 422
    return _said(str(error), status)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _said(said(error), 422)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, SiglumError):  # while a body was read
        return await _refused(request, error.__cause__)
    if error.status_code in (404, 405):
        return _said(f"address must be one that there is, got {request.url.path[:80]!r}.", 404)
    return _said(str(error.detail), error.status_code)


async def _failed(request: Request, error: Exception) -> Response:
    return _said("the Studio failed at this; where it was started it says why. Try again.", 500)


def _said(message: str, status: int) -> Response:
    return JSONResponse({"error": message}, status)
