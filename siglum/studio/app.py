"""The Studio as a web application, and the server that runs it."""

import asyncio
import contextlib
import secrets
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from importlib import resources

import anyio
import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from siglum.errors import ConfigError, SiglumError
from siglum.studio import routes
from siglum.studio.security import MAX_HEAD, Security, error_response
from siglum.studio.state import Studio
from siglum.studio.store import StudioError

MAX_READS = 8  # at once; more would only slow each other down
MAX_WRITES = 24  # at once; most of these wait, so that one fit serves them all
MAX_CONNECTIONS = 500
HEAD_SECONDS = 30  # in which the head of a request must arrive
STALL_SECONDS = 60  # after which a connection that takes nothing of its answer is closed
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def page_files() -> dict[str, Response]:
    """Return the page's files by path; no request reads a folder."""
    files = {}
    for file in resources.files("siglum.studio").joinpath("page").iterdir():
        path = "/" if file.name == "index.html" else f"/static/{file.name}"
        content_type, headers = TYPES[file.name.rpartition(".")[2]], {"Cache-Control": "no-cache"}
        files[path] = Response(file.read_bytes(), 200, headers, content_type)
    return files


def build_app(studio: Studio) -> FastAPI:
    """Return the application for an open set."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        """Analyse in the background as long as requests are answered."""
        anyio.to_thread.current_default_thread_limiter().total_tokens = MAX_READS
        app.state.writes = anyio.CapacityLimiter(MAX_WRITES)
        analyst = threading.Thread(target=studio.analyse_until, args=(closing,), daemon=True)
        analyst.start()
        yield
        closing.set()
        await asyncio.to_thread(analyst.join, 2.0)

    async def serve(file: Response) -> Response:
        return file

    closing = threading.Event()
    # FastAPI's own pages load scripts from elsewhere.
    app = FastAPI(openapi_url=None, redirect_slashes=False, lifespan=lifespan)
    app.state.studio = studio
    app.include_router(routes.router)
    for path, file in page_files().items():
        app.add_api_route(path, partial(serve, file), include_in_schema=False)
    for kind in (SiglumError, RequestValidationError, Exception):
        app.add_exception_handler(kind, _answer_error)
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    refusal = StudioError(500, "Something went wrong; the Studio's terminal says why. Try again.")
    if isinstance(error, SiglumError):
        refusal = StudioError(getattr(error, "status", 422), str(error))
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        refusal = StudioError(422, f"{field}: {first['msg']}, got {first.get('input')!a:.60}.")
    return error_response(refusal)


@dataclass(frozen=True)
class Address:
    """Where a Studio listens, and what opens it."""

    socket: socket.socket
    hosts: frozenset[str]  # as browsers write them, with the port
    token: str | None  # needed where other machines can reach it
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
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux; connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * STALL_SECONDS)
    names = _host_names(host.lower())
    token = None if names == LOOPBACK else secrets.token_urlsafe(24)
    number = listener.getsockname()[1]
    port_text = "" if number == 80 else f":{number}"  # as browsers write it
    hosts = {name: f"[{name}]" if ":" in name else name for name in names}
    url = f"http://{hosts.get(host, hosts[names[0]])}{port_text}/"
    if token is not None:
        url += f"?token={token}"
    return Address(listener, frozenset(name + port_text for name in hosts.values()), token, url)


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
    return (*names, socket.gethostname().lower(), *LOOPBACK)


def create_server(studio: Studio, address: Address) -> uvicorn.Server:
    """Return a server with the Studio's limits; run it with `sockets=[address.socket]`."""
    app = build_app(studio)
    config = uvicorn.Config(
        Security(app, address.hosts, address.token),
        http=TimedProtocol,
        ws="none",
        log_level="error",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEAD,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=HEAD_SECONDS,
        timeout_graceful_shutdown=3,
    )
    app.state.server = server = uvicorn.Server(config)  # streams of events end with it
    return server


class TimedProtocol(H11Protocol):
    """uvicorn's protocol, whose keep-alive timer runs until the head of a request is complete."""

    def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def]
        """Start the timer, which uvicorn starts after an answer only."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        """Read on; uvicorn would stop the timer at the first byte."""
        self.conn.receive_data(data)
        self.handle_events()
