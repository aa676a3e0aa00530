"""A socket, the address that a person opens, and uvicorn behind it."""

import asyncio
import contextlib
import secrets
import socket
from dataclasses import dataclass

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from siglum.errors import ConfigError
from siglum.studio.guard import EVENTS, HEAD_BYTES, Guard, Rules

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY = ("0.0.0.0", "::")
HEAD_SECONDS = 10.0  # for a request's head to arrive
STALLED_SECONDS = 60.0  # without a byte of an answer being taken, before it is given up
IDLE_SECONDS = 30  # that a connection may rest between two requests


@dataclass(frozen=True)
class Address:
    """Where a Studio listens, and who may come."""

    listening: socket.socket
    rules: Rules
    url: str


def listen(host: str, port: int) -> Address:
    """Bind an address; one that other machines can reach gets a token.

    Args:
        port: 0 for one that is free.

    Raises:
        ConfigError: if the host is not of this machine, or the port is taken.
    """
    with contextlib.ExitStack() as undoing:
        try:
            flags = socket.AI_PASSIVE
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
            family, kind, protocol, _, where = found[0]
            listening = undoing.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
        except (OSError, UnicodeError, OverflowError) as error:
            raise ConfigError(
                "host and port must be an address of this machine that is free, got "
                f"{host!r} and {port}: {getattr(error, 'strerror', None) or error}. Leave out "
                "--port for a free one."
            ) from None
        undoing.pop_all()
    listening.listen(128)
    at = int(listening.getsockname()[1])
    names = _names(host.lower())
    token = None if names == LOOPBACK else secrets.token_urlsafe(24)
    shown = host if host in names else names[0]
    url = f"http://{_with_port(shown, at)}/{f'?token={token}' if token else ''}"
    return Address(listening, Rules(frozenset(_with_port(name, at) for name in names), token), url)


def _names(host: str) -> tuple[str, ...]:
    """Return how browsers may name what listens at `host`, the best first."""
    if host in LOOPBACK:
        return LOOPBACK
    if host not in ANY:
        return (host,)
    outwards = [_outwards()]
    with contextlib.suppress(OSError):
        known = socket.getaddrinfo(socket.gethostname(), None)
        outwards += [str(where[0]) for *_, where in known]
        outwards.append(socket.gethostname().lower())
    return tuple(dict.fromkeys(name for name in (*outwards, *LOOPBACK) if name))


def _outwards() -> str:
    """Return the address by which this machine reaches others; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # of RFC 5737: for documents, nobody's
        except OSError:
            return ""
        return str(asking.getsockname()[0])


def _with_port(name: str, port: int) -> str:
    """Return a Host as browsers write it."""
    host = f"[{name}]" if ":" in name else name
    return host if port == 80 else f"{host}:{port}"


def serving(app: ASGIApp, address: Address) -> uvicorn.Server:
    """Return what answers requests at an address once it is run with its socket."""
    config = uvicorn.Config(
        Guard(app, address.rules),
        http=Patient,
        ws="none",
        log_level="error",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config)


class Patient(H11Protocol):
    """uvicorn's protocol, which waits for heads, and for answers to be taken, for a while only."""

    _waiting = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting where a head has begun, and stop where it is whole."""
        super().data_received(data)
        begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if not begun:
            self._stop()
        elif self._waiting is None:
            self._wait()

    def pause_writing(self) -> None:
        """Begin to look whether an answer is being taken."""
        super().pause_writing()
        self._look(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stop looking."""
        self._look(None)
        super().resume_writing()

    def _look(self, left: int | None) -> None:
        """Look again later, where so many bytes are left of an answer."""
        if self._stalled is not None:
            self._stalled.cancel()
        later = self.loop.call_later
        self._stalled = None if left is None else later(STALLED_SECONDS, self._give_up, left)

    def _give_up(self, before: int) -> None:
        """Cut the connection where no byte was taken since."""
        left = self.transport.get_write_buffer_size()
        if left < before:
            self._look(left)
        else:
            self.transport.abort()

    def shutdown(self) -> None:
        """End streams of events, too, which would go on for ever."""
        super().shutdown()
        if self.cycle is not None and self.cycle.scope["path"] == EVENTS:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        self._look(None)
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
