"""What may reach the Studio: decided on the raw request, before any of its programs sees it.

A page of another origin, a name that was bent to point here, a request that is two at once, a body
that is too large or too slow: each is refused by a rule of its own, in words. What comes through
has its whole body read.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MIB = 2**20


@dataclass(frozen=True)
class Body:
    """What the body of a request may be."""

    types: tuple[str, ...]
    most: int  # bytes
    seconds: float  # to be sent within


JSON = Body(("application/json",), 2 * _MIB, 20)
PICTURE = Body(("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"), 20 * _MIB, 60)
FILE = Body(("application/octet-stream", "application/zip"), 64 * _MIB, 120)
BODIES = {"/api/picture": PICTURE, "/api/open": FILE}  # all others are JSON

HEAD_BYTES = 16 * 1024  # of a request: its target and its headers
AT_ONCE, LARGE_AT_ONCE, LISTENERS = 200, 4, 200  # requests, of them large ones, open event streams
DRAIN = 2.0  # seconds for which a body that was refused is still read
EVENTS = "/api/events"

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
POLICY = (
    b"content-security-policy",
    b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"object-src 'none'",
)
ENTER = (  # a step of its own, so that the token leaves the address and the cookie counts at once
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Siglum</title>'
    '<link rel="icon" href="/static/icon.svg">'
    '<meta http-equiv="refresh" content="0; url=/"><a href="/">Open the Studio</a></html>'
)


@dataclass(frozen=True)
class Rules:
    """Where a Studio is to be found, and what opens it."""

    hosts: frozenset[str]  # as browsers write them, each with its port
    token: str | None = None  # asked for where others than this machine can reach it

    @property
    def origins(self) -> frozenset[str]:
        """The origins of its own pages."""
        return frozenset(f"http://{host}" for host in self.hosts)


class Refused(Exception):
    """A request breaks a rule."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """An ASGI application in front of another one."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app = app
        self.rules = rules
        self.running: dict[str, int] = {"all": 0, "large": 0, "events": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            body, entering = self._check(scope)
        except Refused as refused:
            await _drain(receive)
            await _answer(scope, send, refused.status, str(refused))
            return
        if entering:
            await _enter(send, entering)
            return
        kind = self._kind(scope["path"], body)
        most = {"all": AT_ONCE, "large": LARGE_AT_ONCE, "events": LISTENERS}[kind]
        if self.running[kind] >= most:
            message = f"requests at once must be at most {most}, got more. Try again."
            await _drain(receive)
            await _answer(scope, send, 429, message)
            return
        self.running[kind] += 1
        try:
            whole = None if body is None else await _read(receive, body)
            await self.app(scope, _replayed(whole, receive), _with_headers(send))
        except Refused as refused:
            if refused.status == 413:
                await _drain(receive)
            await _answer(scope, send, refused.status, str(refused))
        finally:
            self.running[kind] -= 1

    @staticmethod
    def _kind(path: str, body: Body | None) -> str:
        if path == EVENTS:
            return "events"
        return "large" if body is not None and body is not JSON else "all"

    def _check(self, scope: Scope) -> tuple[Body | None, tuple[str, ...]]:
        """Return what body to read, None for none, and cookies to set for one who has the token.

        Raises:
            Refused: if a rule is broken.
        """
        size = len(scope["raw_path"]) + len(scope["query_string"])
        size += sum(len(name) + len(value) for name, value in scope["headers"])
        if size > HEAD_BYTES:
            raise Refused(431, f"head must have at most {HEAD_BYTES:,} bytes, got {size:,}.")
        headers = _headers(scope)
        host = headers.get("host", [])
        if len(host) != 1 or host[0] not in self.rules.hosts:
            said = ", ".join(host)[:80] or "nothing"
            wanted = "one of this Studio's"  # strangers need not know which
            if self.rules.token is None:
                wanted = " or ".join(sorted(self.rules.hosts))
            raise Refused(400, f"Host must be {wanted}, got {said!r}.")
        path, method = scope["path"], scope["method"]
        if not path.startswith("/"):
            raise Refused(400, f"target must be a path that begins with /, got {path[:80]!r}.")
        if method not in ("GET", "POST"):
            raise Refused(405, f"method must be GET or POST, got {method[:20]!r}.")
        doubled = [name for name in SINGLE if len(headers.get(name, [])) > 1]
        if doubled or ("transfer-encoding" in headers and "content-length" in headers):
            name = doubled[0] if doubled else "transfer-encoding or content-length"
            raise Refused(400, f"{name} must be given once, got it twice.")
        self._check_origin(path, method, headers)
        if self.rules.token is not None:
            cookies = _cookies(headers)
            if (path, method) == ("/", "GET") and b"token=" in scope["query_string"]:
                return None, self._entering(scope, cookies)
            self._check_cookie(cookies)
            scope[WHO] = _checked_who(cookies)
            if not scope[WHO]:  # would be everybody
                raise Refused(403, NO_NAME)
        if method == "GET":
            if headers.get("content-length", ["0"]) != ["0"] or "transfer-encoding" in headers:
                raise Refused(400, "GET must have no body, got one.")
            return None, ()
        return _check_body(BODIES.get(path, JSON), headers), ()

    def _check_origin(self, path: str, method: str, headers: Mapping[str, list[str]]) -> None:
        """Refuse what another page sends, and what another page wants to show, but for a link."""
        site = headers.get("sec-fetch-site", ["none"])[0]
        origin = headers.get("origin", [None])[0]
        link = method == "GET" and path == "/"
        if site not in ("same-origin", "none") and not link:
            raise Refused(403, f"Sec-Fetch-Site must be same-origin or none, got {site[:40]!r}.")
        if origin not in self.rules.origins and (origin is not None or method == "POST"):
            wanted = " or ".join(sorted(self.rules.origins))
            said = "nothing" if origin is None else repr(origin[:80])
            raise Refused(403, f"Origin must be {wanted}, got {said}.")

    def _check_cookie(self, cookies: Mapping[str, str]) -> None:
        if not self._is_token(cookies.get(self._cookie, "")):
            raise Refused(403, NO_TOKEN)

    def _is_token(self, given: str) -> bool:
        assert self.rules.token is not None
        return secrets.compare_digest(given.encode(), self.rules.token.encode())

    @property
    def _cookie(self) -> str:
        """Name of the cookie: browsers keep cookies a host, not a port."""
        return f"siglum-{min(self.rules.hosts).rpartition(':')[2]}"

    def _entering(self, scope: Scope, cookies: Mapping[str, str]) -> tuple[str, ...]:
        """Return the cookies for one who has the token; a person who had one stays who they are."""
        asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if not self._is_token(asked.get("token", "")):
            raise Refused(403, NO_TOKEN)
        who = _checked_who(cookies) or secrets.token_hex(8)
        kept = "; Path=/; HttpOnly; SameSite=Strict"
        return (
            f"{self._cookie}={self.rules.token}{kept}",
            f"{WHO}={who}{kept}; Max-Age={REMEMBERED}",
        )


NO_TOKEN = (
    "address must have the token of this Studio, got none or another. "
    "Open the address that siglum studio printed."
)
NO_NAME = (
    "cookies must say which of several people asks, got none that does. "
    "Open the address that siglum studio printed."
)
SINGLE = (
    *("host", "origin", "content-type", "content-length", "transfer-encoding"),
    *("sec-fetch-site", "content-encoding"),
)
REMEMBERED = 30 * 24 * 3600  # seconds that a browser stays the same person
WHO = "siglum-who"  # a cookie that tells people apart, for whom undo is each their own


def who(scope: Scope) -> str:
    """Return which of several people sends a request; "" where there is one."""
    return str(scope.get(WHO, ""))


def _checked_who(cookies: Mapping[str, str]) -> str:
    found = cookies.get(WHO, "")
    return found if len(found) == 16 and all(char in "0123456789abcdef" for char in found) else ""


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _cookies(headers: Mapping[str, list[str]]) -> dict[str, str]:
    """Return cookies as they are sent; those of other programs on this host may hold anything."""
    pairs = (pair.partition("=") for pair in ";".join(headers.get("cookie", [])).split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _check_body(body: Body, headers: Mapping[str, list[str]]) -> Body:
    kind, _, options = headers.get("content-type", [""])[0].partition(";")
    charset = options.strip().lower()
    if kind.strip().lower() not in body.types or charset not in ("", "charset=utf-8"):
        said = headers.get("content-type", ["nothing"])[0][:80]
        raise Refused(415, f"Content-Type must be {' or '.join(body.types)}, got {said!r}.")
    if "content-encoding" in headers:
        said = headers["content-encoding"][0][:40]
        raise Refused(415, f"Content-Encoding must be left out, got {said!r}.")
    if int(headers.get("content-length", ["0"])[0]) > body.most:
        raise Refused(413, _too_large(body))
    return body


def _too_large(body: Body) -> str:
    return f"body must have at most {body.most:,} bytes, got more."


async def _read(receive: Receive, body: Body) -> bytes:
    """Return the whole body.

    Raises:
        Refused: if it is too large or too slow, or breaks off.
    """
    parts, held = [], 0
    try:
        async with asyncio.timeout(body.seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "body must be sent whole, got a part of it.")
                parts.append(message.get("body", b""))
                held += len(parts[-1])
                if held > body.most:
                    raise Refused(413, _too_large(body))
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        message_ = f"body must be sent within {body.seconds:g} seconds, got a part of it."
        raise Refused(408, message_) from None


async def _drain(receive: Receive) -> None:
    """Let go of what is still being sent, for a while: who is cut off may not hear why."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN):
            message = await receive()
            while message["type"] == "http.request" and message.get("more_body", False):
                message = await receive()


def _replayed(whole: bytes | None, receive: Receive) -> Receive:
    """Return what gives a body that was read, and then what else comes."""
    waiting = [whole or b""]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


def _with_headers(send: Send) -> Send:
    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", []))
            names = {name.lower() for name, _ in given}
            more = [pair for pair in (*HEADERS, POLICY) if pair[0] not in names]
            message = {**message, "headers": [*given, *more]}
        await send(message)

    return adding


async def _answer(scope: Scope, send: Send, status: int, message: str) -> None:
    """Refuse, and let go of the connection: the rest of what is sent over it is not read."""
    raw = json.dumps({"error": message}, ensure_ascii=False).encode()
    extra = [(b"connection", b"close")] + ([(b"allow", b"GET, POST")] if status == 405 else [])
    await _send(send, status, b"application/json", raw, extra)


async def _enter(send: Send, cookies: tuple[str, ...]) -> None:
    extra = [(b"set-cookie", cookie.encode()) for cookie in cookies]
    await _send(send, 200, b"text/html; charset=utf-8", ENTER.encode(), extra)


async def _send(
    send: Send, status: int, kind: bytes, raw: bytes, extra: list[tuple[bytes, bytes]]
) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(raw)).encode()), *extra]
    adding = _with_headers(send)
    await adding({"type": "http.response.start", "status": status, "headers": headers})
    await adding({"type": "http.response.body", "body": raw})
