"""Which requests may reach the Studio, decided on the raw request before anything else runs."""

import asyncio
import contextlib
import re
import secrets
from collections import Counter
from importlib import resources

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from siglum.studio.store import StudioError

MAX_HEAD = 16 * 1024  # bytes
MAX_UPLOADS = 4  # at once, for the memory; others wait
BODY_SECONDS = 120.0  # in which a body must arrive
DRAIN_SECONDS = 2.0  # for which the rest of a refused body is read, so that the answer is
JSON = (("application/json",), 2)  # types of a body, MiB
IMAGE = (("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"), 20)
FILE = (("application/octet-stream", "application/zip"), 64)
BODIES = {"/api/predict/image": IMAGE, "/api/drawings/image": IMAGE, "/api/import": FILE}
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


class Security:
    """ASGI middleware: checks a request, reads its body, and adds headers to the answer."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str | None) -> None:
        """Wrap an application.

        Args:
            hosts: of the server as browsers write them, with the port.
            token: that opens it; None where only this machine can reach it.
        """
        self.app, self.hosts, self.token = app, hosts, token
        self.origins = {f"http://{host}" for host in hosts}
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
            response = error_response(error)
            if error.status == 403 and not scope["path"].startswith("/api/"):
                response = HTMLResponse(_page("forbidden"), 403)
            response.headers["connection"] = "close"  # the rest of the request is not read
            return await response(scope, receive, send_with_headers)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        _check_head(scope, headers)
        self._check_origin(scope, headers)
        if (entered := self._check_token(scope)) is not None:
            return await entered(scope, receive, send)
        if scope["method"] == "GET":
            return await self.app(scope, receive, send)
        body = BODIES.get(scope["path"], JSON)
        _check_body(headers, *body)
        messages: list[Message] = []

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        async with contextlib.nullcontext() if body is JSON else self.uploads:
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    content = await Request(scope, receive).body()
            except ClientDisconnect:
                return None
            except TimeoutError:
                raise StudioError(408, "The upload took too long. Try again.") from None
            messages.append({"type": "http.request", "body": content})
            return await self.app(scope, replay, send)

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        if headers.get("host") not in self.hosts:
            raise StudioError(400, "This is not the address of this Studio.")
        is_link = scope["method"] == "GET" and scope["path"] == "/"
        own_site = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        origin = headers.get("origin")
        own_page = scope["method"] == "GET" if origin is None else origin in self.origins
        if not own_page or not (own_site or is_link):
            raise StudioError(403, "This request came from another page.")

    def _check_token(self, scope: Scope) -> Response | None:
        """Check the cookie and note the session; answer someone who enters with the token."""
        scope["siglum_session"] = None
        if self.token is None:
            return None
        request, token = Request(scope), self.token.encode()
        # Browsers keep cookies by host, whatever the port.
        name = f"siglum-{min(self.hosts).rpartition(':')[2]}"
        value, _, session = request.cookies.get(name, "").partition(".")
        session = session if re.fullmatch("[0-9a-f]{16}", session) else ""
        sent = request.query_params.get("token")
        if sent is not None and (scope["path"], scope["method"]) == ("/", "GET"):
            if secrets.compare_digest(sent.encode(), token):
                value = f"{self.token}.{session or secrets.token_hex(8)}"
                enter = HTMLResponse(_page("enter"))
                enter.set_cookie(name, value, COOKIE_SECONDS, httponly=True, samesite="strict")
                return enter
        elif secrets.compare_digest(value.encode(), token) and session:
            scope["siglum_session"] = session
            return None
        raise StudioError(403, "This link no longer works. Ask for the new one.")


def _check_head(scope: Scope, headers: Headers) -> None:
    if scope["method"] not in ("GET", "POST"):
        raise StudioError(405, "Only GET and POST are possible.")
    counts = Counter(headers.keys())
    size = len(scope["raw_path"]) + len(scope["query_string"])
    if (
        size + sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEAD
        or any(counts[name] > 1 for name in SINGLE)
        or "transfer-encoding" in headers  # browsers send the length
        or (scope["method"] == "GET" and headers.get("content-length", "0") != "0")
        or not scope["path"].startswith("/")
    ):
        raise StudioError(400, "This is not a request as the Studio's page sends it.")


def _check_body(headers: Headers, types: tuple[str, ...], max_mib: int) -> None:
    content_type, _, options = headers.get("content-type", "").lower().partition(";")
    if content_type.strip() not in types or options.strip() not in ("", "charset=utf-8"):
        raise StudioError(415, f"The body must be {' or '.join(types)}.")
    if "content-encoding" in headers:
        raise StudioError(415, "The body must not be compressed.")
    if int(headers.get("content-length", "0")) > max_mib * 2**20:
        raise StudioError(413, f"This is too large: at most {max_mib} MB.")


def error_response(error: StudioError) -> Response:
    """Return a refusal as JSON."""
    headers = {"Allow": "GET, POST"} if error.status == 405 else None
    return JSONResponse({"detail": str(error)}, error.status, headers)


def _page(name: str) -> str:
    return resources.files("siglum.studio").joinpath(f"{name}.html").read_text("utf-8")
