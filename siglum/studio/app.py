"""The Studio as a web application, and the server that runs it."""

import asyncio
import contextlib
import secrets
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources

import anyio.to_thread
import h11
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from siglum.errors import ConfigError, SiglumError
from siglum.studio import routes
from siglum.studio.errors import StudioError
from siglum.studio.import_ import Job
from siglum.studio.schemas import explain
from siglum.studio.security import MAX_HEAD, Access, Security, error_response
from siglum.studio.state import Studio

TURNS = {  # how many requests run at once
    "read": 8,  # more would only slow each other down
    "write": 24,  # most of these wait, so that one fit serves them all
}
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TICK_SECONDS = 10.0  # between two looks at a connection
MAX_HEAD_TICKS, MAX_STALL_TICKS = 1, 6  # in which a head must arrive, or a byte be taken
KEEP_ALIVE_SECONDS = 30


def page_files() -> dict[str, tuple[bytes, str]]:
    """Return content and type of the page's files by name; no request reads a folder."""
    files = {}
    for file in resources.files("siglum.studio").joinpath("page").iterdir():
        if (ending := file.name.rpartition(".")[2]) in TYPES:
            files[file.name] = (file.read_bytes(), TYPES[ending])
    return files


def build_app(studio: Studio) -> FastAPI:
    """Return the application for an open set."""
    app = FastAPI(
        title="Siglum Studio",
        openapi_url=None,  # FastAPI's pages for it load scripts from elsewhere
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.studio = studio
    app.state.import_job = Job()
    app.state.closing = threading.Event()
    app.state.turns = {name: asyncio.Semaphore(count) for name, count in TURNS.items()}
    app.include_router(routes.router)
    for name, (content, content_type) in page_files().items():
        path = "/" if name == "index.html" else f"/static/{name}"
        file = Response(content, media_type=content_type, headers={"Cache-Control": "no-cache"})
        app.router.routes.append(Route(path, partial(_serve, file), include_in_schema=False))
    for kind in (SiglumError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer_error)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Analyse in the background as long as requests are answered."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = sum(TURNS.values())
    closing: threading.Event = app.state.closing
    analyst = threading.Thread(
        target=app.state.studio.analyse_until, args=(closing,), name="analysis", daemon=True
    )
    analyst.start()
    yield
    closing.set()
    await asyncio.to_thread(analyst.join, 2.0)


async def _serve(file: Response, request: Request) -> Response:
    return file


async def _answer_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and isinstance(error.__cause__, SiglumError):
        error = error.__cause__  # raised while FastAPI read the body
    if isinstance(error, StudioError):
        refusal = error
    elif isinstance(error, SiglumError):
        refusal = StudioError("invalid", str(error))
    elif isinstance(error, RequestValidationError):
        refusal = StudioError("invalid", explain(error))
    elif isinstance(error, HTTPException):
        refusal = StudioError("not_found", "There is nothing at this address.")
    else:
        message = "Something went wrong; the terminal of the Studio says why. Try again."
        refusal = StudioError("internal", message)
    return error_response(refusal)


@dataclass(frozen=True)
class Address:
    """Where a Studio listens, and who may come in."""

    socket: socket.socket
    access: Access
    url: str


def listen(host: str, port: int) -> Address:
    """Listen at an address; one that other machines can reach gets a token.

    Args:
        port: 0 for a free one.

    Raises:
        ConfigError: if the host is not one of this machine, or the port is in use.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=family, backlog=128)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (")[0].lower()
        raise ConfigError(
            f"Cannot listen at {host!r}, port {port}: {reason}. Choose another --host, and leave "
            "out --port for a free one."
        ) from None
    number = int(listener.getsockname()[1])
    names = _host_names(host.lower())
    token = None if names == LOOPBACK else secrets.token_urlsafe(24)
    name = host if host in names else names[0]
    url = f"http://{_with_port(name, number)}/{f'?token={token}' if token else ''}"
    hosts = frozenset(_with_port(name, number) for name in names)
    return Address(listener, Access(hosts, token), url)


def _host_names(host: str) -> tuple[str, ...]:
    """Return the names by which browsers may reach `host`, the best first."""
    if host in LOOPBACK:
        return LOOPBACK
    if host not in ("0.0.0.0", "::"):
        return (host,)
    names = []
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address for documentation; nothing is sent
        names.append(str(probe.getsockname()[0]))
    with contextlib.suppress(OSError):
        names += [str(one[4][0]) for one in socket.getaddrinfo(socket.gethostname(), None)]
        names.append(socket.gethostname().lower())
    return tuple(dict.fromkeys([*names, *LOOPBACK]))


def _with_port(name: str, port: int) -> str:
    host = f"[{name}]" if ":" in name else name
    return host if port == 80 else f"{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn, with the Studio's limits, which ends streams of events when it stops."""

    def __init__(self, studio: Studio, access: Access) -> None:
        self.app = build_app(studio)
        super().__init__(
            uvicorn.Config(
                Security(self.app, access),
                http=TimedProtocol,
                ws="none",
                log_level="error",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                h11_max_incomplete_event_size=MAX_HEAD,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=3,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, and let streams of events end."""
        self.app.state.closing.set()
        await super().shutdown(sockets)


class TimedProtocol(H11Protocol):
    """uvicorn's protocol, which also cuts connections that do not get on."""

    def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def]
        """Begin to look at the connection from time to time."""
        super().connection_made(transport)
        self._waiting = self._stalled = self._buffered = 0
        self._timer = self.loop.call_later(TICK_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop looking."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Cut the connection if a head does not arrive, or nothing of an answer is taken."""
        in_head = self.conn.their_state is h11.IDLE and (
            self.cycle is None or bool(self.conn.trailing_data[0])
        )
        self._waiting = self._waiting + 1 if in_head else 0
        buffered = self.transport.get_write_buffer_size()
        self._stalled = self._stalled + 1 if 0 < self._buffered <= buffered else 0
        self._buffered = buffered
        if self._waiting > MAX_HEAD_TICKS or self._stalled >= MAX_STALL_TICKS:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(TICK_SECONDS, self._look)
