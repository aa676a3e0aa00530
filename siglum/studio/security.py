"""Which requests may reach the Studio, decided on the raw request before anything else runs."""

import asyncio
import contextlib
import re
import secrets
from collections import Counter
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from siglum.studio.errors import STATUS, StudioError

MIB = 2**20
EVENTS = "/api/events"
IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp")
FILE_TYPES = ("application/octet-stream", "application/zip")
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
HTML = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Siglum</title>'
ENTER = (  # a page of its own, so that the token leaves the address bar
    f'{HTML}<meta http-equiv="refresh" content="0; url=/"><a href="/">Open the Studio</a></html>'
)
FORBIDDEN = (
    f'{HTML}<meta name="viewport" content="width=device-width"><h1>This link does not work</h1>'
    "<p>The Studio was restarted, or the link is incomplete. Open the address that "
    "<code>siglum studio</code> printed, or ask for the new link.</p></html>"
)


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
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        send = _with_headers(send)
        body = BODIES.get(scope["path"], JSON)
        kind = "other" if body is JSON else "upload"
        kind = "events" if scope["path"] == EVENTS else kind
        self.running[kind] += 1
        try:
            headers = Headers(scope=scope)
            _check_head(scope, headers)
            self._check_origin(scope, headers)
            if (entered := self._check_token(scope, headers)) is not None:
                return await entered(scope, receive, send)
            if self.running[kind] > MAX_AT_ONCE[kind]:
                message = "Too many requests at once. Try again in a moment."
                raise StudioError("too_many_requests", message)
            if scope["method"] == "POST":
                _check_body(headers, body)
                receive = _replay(await _read(receive, body), receive)
            return await self.app(scope, receive, send)
        except StudioError as error:
            if error.kind != "timeout":
                await _drain(receive)
            return await _refusal(scope, error)(scope, receive, send)
        finally:
            self.running[kind] -= 1

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        if headers.get("host") not in self.access.hosts:
            raise StudioError("bad_request", "This is not the address of this Studio.")
        is_link = scope["method"] == "GET" and scope["path"] == "/"
        own_site = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        origin = headers.get("origin")
        if origin is None:
            own_page = scope["method"] == "GET"
        else:
            own_page = origin in {f"http://{host}" for host in self.access.hosts}
        if not own_page or not (own_site or is_link):
            raise StudioError("forbidden", "This request came from another page.")

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Check the cookie and note the session; answer someone who enters with the token."""
        scope["siglum_session"] = None
        if (token := self.access.token) is None:
            return None
        # Browsers keep cookies by host, whatever the port; those of others may hold anything.
        cookie = f"siglum-{min(self.access.hosts).rpartition(':')[2]}"
        parts = (part.partition("=") for part in ";".join(headers.getlist("cookie")).split(";"))
        cookies = {name.strip(): value.strip() for name, _, value in parts}
        value, _, session = cookies.get(cookie, "").partition(".")
        session = session if SESSION.fullmatch(session) else ""
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if (scope["path"], scope["method"]) == ("/", "GET") and "token" in query:
            if secrets.compare_digest(query["token"].encode(), token.encode()):
                value = f"{token}.{session or secrets.token_hex(8)}"
                enter = HTMLResponse(ENTER)
                enter.set_cookie(cookie, value, COOKIE_SECONDS, httponly=True, samesite="strict")
                return enter
        elif secrets.compare_digest(value.encode(), token.encode()) and session:
            scope["siglum_session"] = session
            return None
        raise StudioError("forbidden", "This link no longer works. Ask for the new one.")


def _check_head(scope: Scope, headers: Headers) -> None:
    size = len(scope["raw_path"]) + len(scope["query_string"])
    if size + sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEAD:
        raise StudioError("head_too_large", f"Headers have at most {MAX_HEAD:,} bytes.")
    counts = Counter(headers.keys())
    chunked, length = "transfer-encoding" in headers, headers.get("content-length", "0")
    if any(counts[name] > 1 for name in (*SINGLE, "sec-fetch-site", "content-encoding")) or (
        chunked and "content-length" in headers
    ):
        raise StudioError("bad_request", "A header of this request occurs twice.")
    if not scope["path"].startswith("/"):
        raise StudioError("bad_request", "The target must be a path.")
    if scope["method"] not in ("GET", "POST"):
        raise StudioError("method_not_allowed", "Only GET and POST are possible.")
    if scope["method"] == "GET" and (chunked or length != "0"):
        raise StudioError("bad_request", "A GET has no body.")


def _check_body(headers: Headers, body: Body) -> None:
    content_type, _, options = headers.get("content-type", "").lower().partition(";")
    if content_type.strip() not in body.types or options.strip() not in ("", "charset=utf-8"):
        raise StudioError("unsupported_type", f"The body must be {' or '.join(body.types)}.")
    if "content-encoding" in headers:
        raise StudioError("unsupported_type", "The body must not be compressed.")
    _check_size(int(headers.get("content-length", "0")), body)


def _check_size(size: int, body: Body) -> None:
    if size > body.max_bytes:
        message = f"This is too large: at most {body.max_bytes // MIB} MB."
        raise StudioError("too_large", message)


async def _read(receive: Receive, body: Body) -> bytes:
    content, more = bytearray(), True
    try:
        async with asyncio.timeout(body.seconds):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise StudioError("bad_request", "The body was cut off.")
                content += message.get("body", b"")
                _check_size(len(content), body)
                more = message.get("more_body", False)
    except TimeoutError:
        raise StudioError("timeout", "The upload took too long. Try again.") from None
    return bytes(content)


async def _drain(receive: Receive) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while (await receive()).get("more_body", False):
                pass


def _replay(content: bytes, receive: Receive) -> Receive:
    """Return a channel that gives the body that was read, and then what comes."""
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _with_headers(send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return add


def error_response(error: StudioError) -> Response:
    """Return a refusal as JSON."""
    content = {"error": {"kind": error.kind, "message": str(error), **error.details}}
    return JSONResponse(content, STATUS[error.kind])


def _refusal(scope: Scope, error: StudioError) -> Response:
    """Return the answer, after which the connection is closed: the rest of it is not read."""
    response = error_response(error)
    if error.kind == "forbidden" and not scope["path"].startswith("/api/"):
        response = HTMLResponse(FORBIDDEN, 403)
    response.headers["connection"] = "close"
    if error.kind == "method_not_allowed":
        response.headers["allow"] = "GET, POST"
    return response
