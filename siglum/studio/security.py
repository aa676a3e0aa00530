"""Which requests may reach the Studio, decided on the raw request before anything else runs."""

import asyncio
import contextlib
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from siglum.studio.errors import STATUS, StudioError

MIB = 2**20
EVENTS = "/api/events"
IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp")
FILE_TYPES = ("application/octet-stream", "application/zip")


@dataclass(frozen=True)
class Body:
    """Limits of a request's body."""

    types: tuple[str, ...]
    max_bytes: int
    seconds: float  # in which it must arrive


JSON = Body(("application/json",), 2 * MIB, 20)
IMAGE = Body(IMAGE_TYPES, 20 * MIB, 60)
FILE = Body(FILE_TYPES, 64 * MIB, 120)
BODIES = {"/api/predict/image": IMAGE, "/api/drawings/image": IMAGE, "/api/import": FILE}
MAX_HEAD = 16 * 1024  # bytes
MAX_AT_ONCE = {"events": 200, "upload": 4, "other": 200}
DRAIN_SECONDS = 2.0  # for which the rest of a refused body is read, so that the answer is
COOKIE_SECONDS = 30 * 24 * 3600
SINGLE = ("host", "origin", "content-type", "content-length", "transfer-encoding")
SESSION = re.compile("[0-9a-f]{16}")

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
}
ENTER = (  # a page of its own, so that the token leaves the address bar
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Siglum</title>'
    '<meta http-equiv="refresh" content="0; url=/"><a href="/">Open the Studio</a></html>'
)
FORBIDDEN = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Siglum</title>'
    '<meta name="viewport" content="width=device-width"><h1>This link does not work</h1>'
    "<p>The Studio was restarted, or the link is incomplete. Open the address that "
    "<code>siglum studio</code> printed, or ask for the new link.</p></html>"
)


@dataclass(frozen=True)
class Access:
    """The names under which a Studio is found, and the token that opens it."""

    hosts: frozenset[str]  # as browsers write them, with the port
    token: str | None = None  # needed where other machines can reach it


class Security:
    """ASGI middleware: checks a request, reads its body, and adds headers to the answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access
        self.running: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return None
        send = _with_headers(send)
        body = BODIES.get(scope["path"], JSON)
        kind = "other" if body is JSON else "upload"
        kind = "events" if scope["path"] == EVENTS else kind
        self.running[kind] += 1
        try:
            headers = Headers(scope=scope)
            self._check_head(scope, headers)
            if (entered := self._check_token(scope, headers)) is not None:
                return await entered(scope, receive, send)
            if self.running[kind] > MAX_AT_ONCE[kind]:
                message = "Too many requests at once. Try again in a moment."
                raise StudioError("too_many_requests", message)
            content = b""
            if scope["method"] == "POST":
                _check_body(headers, body)
                content = await _read(receive, body)
            return await self.app(scope, _replay(content, receive), send)
        except StudioError as error:
            if error.kind != "timeout":
                await _drain(receive)
            return await _refuse(scope, error)(scope, receive, send)
        finally:
            self.running[kind] -= 1

    def _check_head(self, scope: Scope, headers: Headers) -> None:
        size = len(scope["raw_path"]) + len(scope["query_string"])
        if size + sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEAD:
            raise StudioError("too_large", f"Headers have at most {MAX_HEAD:,} bytes.")
        counts = Counter(headers.keys())
        if any(counts[name] > 1 for name in (*SINGLE, "sec-fetch-site", "content-encoding")):
            raise StudioError("bad_request", "A header of this request occurs twice.")
        if "transfer-encoding" in headers and "content-length" in headers:
            raise StudioError(
                "bad_request", "Content-Length and Transfer-Encoding exclude another."
            )
        if headers.get("host") not in self.access.hosts:
            raise StudioError("bad_request", "This is not the address of this Studio.")
        if not scope["path"].startswith("/"):
            raise StudioError("bad_request", "The target must be a path.")
        method = scope["method"]
        if method not in ("GET", "POST"):
            raise StudioError("method_not_allowed", "Only GET and POST are possible.")
        if method == "GET" and (
            headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        ):
            raise StudioError("bad_request", "A GET has no body.")
        is_link = method == "GET" and scope["path"] == "/"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not is_link:
            raise StudioError("forbidden", "This request came from another page.")
        origin = headers.get("origin")
        if origin not in {f"http://{host}" for host in self.access.hosts} and (
            origin is not None or method == "POST"
        ):
            raise StudioError("forbidden", "This request came from another page.")

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Check the cookie and note the session; answer someone who enters with the token."""
        token = self.access.token
        scope["siglum_session"] = None
        if token is None:
            return None
        # Browsers keep cookies by host, whatever the port.
        name = f"siglum-{min(self.access.hosts).rpartition(':')[2]}"
        given, _, session = _cookies(headers).get(name, "").partition(".")
        session = session if SESSION.fullmatch(session) else ""
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if scope["path"] == "/" and scope["method"] == "GET" and "token" in query:
            if _equal(query["token"], token):
                response = HTMLResponse(ENTER)
                value = f"{token}.{session or secrets.token_hex(8)}"
                response.set_cookie(name, value, COOKIE_SECONDS, httponly=True, samesite="strict")
                return response
        elif _equal(given, token) and session:
            scope["siglum_session"] = session
            return None
        raise StudioError("forbidden", "This link no longer works. Ask for the new one.")


def session_of(scope: Scope) -> str | None:
    """Return which browser sends a request; None where all are the same person's."""
    session: str | None = scope["siglum_session"]
    return session


def _equal(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


def _cookies(headers: Headers) -> Mapping[str, str]:
    """Parse cookies as they are sent; those of other programs on this host may hold anything."""
    pairs = (part.partition("=") for part in ";".join(headers.getlist("cookie")).split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _check_body(headers: Headers, body: Body) -> None:
    content_type, _, options = headers.get("content-type", "").lower().partition(";")
    if content_type.strip() not in body.types or options.strip() not in ("", "charset=utf-8"):
        types = " or ".join(body.types)
        raise StudioError("unsupported_type", f"The body must be {types}.")
    if "content-encoding" in headers:
        raise StudioError("unsupported_type", "The body must not be compressed.")
    if int(headers.get("content-length", "0")) > body.max_bytes:
        raise _too_large(body)


def _too_large(body: Body) -> StudioError:
    return StudioError("too_large", f"This is too large: at most {body.max_bytes // MIB} MB.")


async def _read(receive: Receive, body: Body) -> bytes:
    content = bytearray()
    try:
        async with asyncio.timeout(body.seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise StudioError("bad_request", "The body was cut off.")
                content += message.get("body", b"")
                if len(content) > body.max_bytes:
                    raise _too_large(body)
                more = message.get("more_body", False)
    except TimeoutError:
        raise StudioError("timeout", "The upload took too long. Try again.") from None
    return bytes(content)


async def _drain(receive: Receive) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            message = await receive()
            while message["type"] == "http.request" and message.get("more_body", False):
                message = await receive()


def _replay(content: bytes, receive: Receive) -> Receive:
    """Return a channel that gives the body that was read, and then what comes."""
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _with_headers(send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message.get("headers", []))
            more = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n not in headers]
            message = {**message, "headers": [*headers.raw, *more]}
        await send(message)

    return add


def error_response(error: StudioError, status: int | None = None) -> Response:
    """Return a refusal as JSON."""
    content = {"error": {"kind": error.kind, "message": str(error), **error.details}}
    return JSONResponse(content, status or STATUS[error.kind])


def _refuse(scope: Scope, error: StudioError) -> Response:
    """Return the answer, after which the connection is closed: the rest of it is not read."""
    head = error.kind == "too_large" and scope["method"] == "GET"
    response = error_response(error, 431 if head else None)
    if error.kind == "forbidden" and not scope["path"].startswith("/api/"):
        response = HTMLResponse(FORBIDDEN, 403)
    response.headers["connection"] = "close"
    if error.kind == "method_not_allowed":
        response.headers["allow"] = "GET, POST"
    return response
