"""The Studio as a web application: which requests it answers, and the server that runs it."""

import asyncio
import contextlib
import re
import secrets
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from siglum.errors import ConfigError, SiglumError
from siglum.studio import routes
from siglum.studio.classroom import Classroom, Visitor
from siglum.studio.snapshot import Studio
from siglum.studio.store import StudioError
from siglum.studio.workers import Workers

MAX_READS = 8  # at once; more would only slow each other down
MAX_WRITES = 24  # at once; most of these wait, so that one fit serves them all
MAX_UPLOADS = 4  # at once, for the memory; others wait
MAX_CONNECTIONS = 500
MAX_HEAD = 16 * 1024  # bytes of a request's head
HEAD_SECONDS, BODY_SECONDS = 30, 120.0  # in which head and body must arrive
STALL_SECONDS = 60  # after which a connection that takes nothing of its answer is closed
DRAIN_SECONDS = 2.0  # for which the rest of a refused body is read, so that the answer is
JSON = (("application/json",), 2)  # types of a body, MiB
IMAGE = (("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"), 20)
FILE = (("application/octet-stream", "application/zip"), 64)
FORM = (("multipart/form-data",), 64)
IMAGES = ("/api/predict/image", "/api/find/image", "/api/drawings/image")
BODIES = {**dict.fromkeys(IMAGES, IMAGE), "/api/import": FILE, "/recognise": FORM}
COOKIE_SECONDS = 30 * 24 * 3600
SINGLE = ("host", "origin", "content-type", "content-length", "sec-fetch-site")
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
}
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
EXTRA = {401: {"www-authenticate": "Bearer"}, 405: {"allow": "GET, POST"}}  # headers by status
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Address(NamedTuple):
    """Where a server listens, and what opens it."""

    socket: socket.socket
    hosts: frozenset[str]  # as browsers write them, with the port
    token: str | None  # needed where other machines can reach it
    url: str


def listen(host: str, port: int) -> Address:
    """Listen, at a free port if it is 0; an address that other machines can reach gets a token."""
    host = host.lower()
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=family, backlog=128)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (")[0].lower()
        remedy = "Choose another --host or --port; --port 0 takes a free one."
        raise ConfigError(f"Cannot listen at {host!r}, port {port}: {reason}. {remedy}") from None
    # Connections inherit it; otherwise the body of an answer waits 40 ms for its headers' receipt.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux; connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * STALL_SECONDS)
    names, token = [host, *LOOPBACK], None
    if host not in LOOPBACK:
        names, token = [host], secrets.token_urlsafe(24)
    if host in ("0.0.0.0", "::"):
        names = [socket.gethostname().lower(), *LOOPBACK]
        with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # an address for documentation; nothing is sent
            names.insert(0, probe.getsockname()[0])
    number = listener.getsockname()[1]
    ending = "" if number == 80 else f":{number}"  # as browsers write it
    hosts = [f"[{name}]{ending}" if ":" in name else f"{name}{ending}" for name in names]
    url = f"http://{hosts[0]}/" + (f"?token={token}" if token else "")
    return Address(listener, frozenset(hosts), token, url)


def create_server(studio: Studio, address: Address, workers: Workers) -> uvicorn.Server:
    """Return the Studio's server; run it with `sockets=[address.socket]`."""
    closing = threading.Event()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = MAX_READS
        app.state.writes = anyio.CapacityLimiter(MAX_WRITES)
        analyst = threading.Thread(target=studio.analyse_until, args=(closing,), daemon=True)
        analyst.start()
        yield
        closing.set()
        await asyncio.to_thread(analyst.join, 2.0)

    # FastAPI's own pages load scripts from elsewhere.
    app = FastAPI(openapi_url=None, redirect_slashes=False, lifespan=lifespan)
    app.include_router(routes.router)
    for file in Path(__file__).with_name("page").iterdir():
        path = "/" if file.name == "index.html" else f"/static/{file.name}"
        content_type, headers = TYPES[file.suffix[1:]], {"Cache-Control": "no-cache"}
        content = Response(file.read_bytes(), 200, headers, content_type)
        app.router.routes.append(Route(path, content, methods=["GET"]))
    app.state.studio, app.state.workers = studio, workers
    app.state.classroom = Classroom(studio, address.token, address.url)
    app.state.server = server = build_server(Security(app, address))
    return server  # streams of events end with it


def build_server(security: "Security") -> uvicorn.Server:
    """Return a server with limits on heads, times and connections, whose errors are JSON."""
    for kind in (SiglumError, RequestValidationError, Exception):
        security.app.add_exception_handler(kind, _answer_error)
    config = uvicorn.Config(
        security,
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
    return uvicorn.Server(config)


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


async def _answer_error(request: Request, error: Exception) -> Response:
    status, message = 500, "Something went wrong; the server's terminal says why. Try again."
    if isinstance(error, SiglumError):
        status, message = getattr(error, "status", 422), str(error)
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or "The body"
        status, message = 422, f"{field}: {first['msg']}, got {first.get('input')!a:.60}."
        if first["type"] == "json_invalid":
            message = "The body must be JSON."
        elif first["type"] == "value_error":  # of our own, for people
            message = f"{first['ctx']['error']}."
            if field.startswith("files."):  # of FastAPI
                message = "Each of files must be a file: -F files=@NAME with curl."
    return JSONResponse({"detail": message}, status)


class Security:
    """ASGI middleware: checks a request before anything else runs, and adds headers."""

    def __init__(self, app: FastAPI, address: Address) -> None:
        self.app, self.address = app, address
        self.uploads = asyncio.Semaphore(MAX_UPLOADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            return await self._handle(scope, receive, send_with_headers)
        except StudioError as error:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    while (await receive()).get("more_body", False):
                        pass
            response = await _answer_error(Request(scope), error)
            if error.status == 403 and not scope["path"].startswith("/api/"):
                response = page("forbidden", 403)
            response.headers["connection"] = "close"  # the rest of the request is not read
            response.headers.update(EXTRA.get(error.status, {}))
            return await response(scope, receive, send_with_headers)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._check_head(scope, headers)
        if (answer := self._admit(scope, headers)) is not None:
            return await answer(scope, receive, send)
        if scope["method"] == "GET":
            return await self.app(scope, receive, send)
        types, max_mib = BODIES.get(scope["path"], JSON)
        content_type, _, options = headers.get("content-type", "").lower().partition(";")
        if content_type.strip() not in types or "charset" in options.replace("charset=utf-8", ""):
            raise StudioError(415, f"The body must be {' or '.join(types)}.")
        if "content-encoding" in headers:
            raise StudioError(415, "The body must not be compressed.")
        if int(headers.get("content-length", "0")) > max_mib * 2**20:
            raise StudioError(413, f"This is too large: at most {max_mib} MB.")
        is_large = int(headers.get("content-length", "0")) > JSON[1] * 2**20
        async with self.uploads if is_large else contextlib.nullcontext():
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    content = await Request(scope, receive).body()
            except ClientDisconnect:
                return None
            except TimeoutError:
                raise StudioError(408, "The upload took too long. Try again.") from None
            messages = iter([{"type": "http.request", "body": content}])

            async def replay() -> Message:
                return next(messages, None) or await receive()

            return await self.app(scope, replay, send)

    def _check_head(self, scope: Scope, headers: Headers) -> None:
        counts = Counter(headers.keys())
        size = len(scope["raw_path"]) + len(scope["query_string"])
        if (
            size + sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEAD
            or any(counts[name] > 1 for name in SINGLE)
            or "transfer-encoding" in headers  # browsers send the length
            or (scope["method"] == "GET" and headers.get("content-length", "0") != "0")
            or not scope["path"].startswith("/")
        ):
            raise StudioError(400, "Send a plain request, with the length of its body.")
        if scope["method"] not in ("GET", "POST"):
            raise StudioError(405, "Only GET and POST are possible.")

    def _check_host(self, headers: Headers) -> None:
        # Otherwise a page of another site could reach this one by a name of its own.
        if headers.get("host") not in self.address.hosts:
            raise StudioError(400, "This is not the address of this server.")

    def _admit(self, scope: Scope, headers: Headers) -> Response | None:
        """Note the visitor and check their role; answer someone who enters by a link."""
        self._check_host(headers)
        is_link = scope["method"] == "GET" and re.fullmatch("/(j/.*)?", scope["path"])
        own_site = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        origin = headers.get("origin")
        origins = {f"http://{host}" for host in self.address.hosts}
        own_page = scope["method"] == "GET" if origin is None else origin in origins
        if not own_page or not (own_site or is_link):
            raise StudioError(403, "This request came from another page.")
        scope["siglum_visitor"] = Visitor()
        classroom: Classroom = self.app.state.classroom
        if classroom.token is None:
            return None
        request, path = Request(scope), scope["path"]
        # Browsers keep cookies by host, whatever the port.
        name = f"siglum-{min(self.address.hosts).rpartition(':')[2].strip(']')}"
        secret, _, session = request.cookies.get(name, "").partition(".")
        session = session if re.fullmatch("[0-9a-f]{16}", session) else ""
        current = classroom.identify(secret, session) if session else None
        session = session or secrets.token_hex(8)
        sent = request.query_params.get("token") if path == "/" else None
        if path.startswith("/j/"):
            sent = re.sub("[^a-z0-9]", "", path[3:].lower())  # as people type a code
        is_link = sent is not None and scope["method"] == "GET"
        visitor = classroom.identify(str(sent), session) if is_link else current
        if visitor is None:
            raise StudioError(403, "This link no longer works. Ask for the new one.")
        if not is_link:
            classroom.check(visitor, f"{scope['method']} {path}")
            scope["siglum_visitor"] = visitor
            if path == "/" and visitor.role == "pupil" and visitor.name is None:
                scope["path"] = "/static/join.html"
            return None
        enter = page("enter")
        if current is None or (current.role, visitor.role) != ("teacher", "pupil"):
            # Not "strict": a link on another site would replace the cookie of a teacher or pupil.
            cookie = f"{sent}.{session}"
            enter.set_cookie(name, cookie, COOKIE_SECONDS, httponly=True, samesite="lax")
        return enter


def page(name: str, status: int = 200) -> HTMLResponse:
    """Return a page that needs neither script nor style."""
    return HTMLResponse(Path(__file__).with_name(f"{name}.html").read_bytes(), status)
