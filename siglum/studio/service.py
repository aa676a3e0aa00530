"""A REST API for one recogniser, without the Studio's page and sets: docs/service.md."""

import secrets

import uvicorn
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel, FiniteFloat
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from siglum import __version__
from siglum.errors import DataError, SiglumError
from siglum.recogniser.predict import is_strokes
from siglum.studio import app as studio
from siglum.studio.snapshot import Json
from siglum.studio.store import StudioError
from siglum.studio.workers import Workers, ping, recognise

OPEN = ("/health", "/docs", "/openapi.json")  # without a token


class Strokes(BaseModel, strict=True):
    """Pen strokes: lists of points [x, y] in any unit; or, with `version`, a Studio's drawing."""

    strokes: list[list[list[FiniteFloat]]]
    version: int | None = None
    aspect: float = 1.0


def create_service(address: studio.Address, workers: Workers) -> uvicorn.Server:
    """Return the service's server; run it with `sockets=[address.socket]`."""
    app = FastAPI(title="Siglum", version=__version__, docs_url=None, redoc_url=None)

    @app.post("/recognise")
    def recognise_images(files: list[UploadFile]) -> list[Json]:
        """Recognise images of one sign each.

        Each gets an answer, in their order: the fields of `siglum predict --json`, or `file` and
        `detail`, the reason why it cannot be read.
        """
        answers = []
        for number, file in enumerate(files, 1):
            try:
                answer = workers.run(recognise, file.file.read(), number)
            except SiglumError as error:
                answer = {"detail": str(error)}
            answers.append(answer | {"file": file.filename})
        return answers

    @app.post("/recognise/strokes")
    def recognise_strokes(drawing: Strokes) -> Json:
        """Recognise pen strokes of one sign; return the fields of `siglum predict --json`."""
        image = drawing.strokes if drawing.version is None else drawing.model_dump()
        if drawing.version is None and not is_strokes(image):
            raise DataError("strokes must be lists of points [x, y].")
        return workers.run(recognise, image)

    @app.get("/health")
    def check_health() -> Json:
        """Answer when images can be read; needs no token."""
        return {"version": __version__, "classes": workers.run(ping)}

    @app.get("/docs", include_in_schema=False)
    def show_docs() -> Response:
        return studio.page("service")  # FastAPI's own loads scripts from elsewhere

    return studio.build_server(ServiceSecurity(app, address))


class ServiceSecurity(studio.Security):
    """A token where other machines reach the service; else programs of this machine only."""

    def _admit(self, scope: Scope, headers: Headers) -> None:
        if self.address.token is None:
            self._check_host(headers)
            if headers.get("origin") not in (None, f"http://{headers['host']}"):
                raise StudioError(400, "This request came from another page.")
        elif scope["path"] not in OPEN:
            sent, expected = headers.get("authorization", ""), f"Bearer {self.address.token}"
            if not secrets.compare_digest(sent.encode(), expected.encode()):
                raise StudioError(401, "Send the token: Authorization: Bearer TOKEN.")
