"""`siglum studio` and `siglum serve`."""

import asyncio
import contextlib
import os
import re
import threading
import webbrowser
from pathlib import Path

from siglum.errors import ConfigError

PORT = 7445  # the default, so that an open page reaches the next Studio again
MAX_WORKERS = 32  # each takes about 100 MB


def studio(
    source: Path = Path("my-signs"),
    /,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    backbone: Path | None = None,
    no_browser: bool = False,
) -> None:
    """Draw, teach, test and correct signs on a page in the browser, without a network.

    Every change is saved at once; Ctrl-C ends the Studio. Only this machine can reach it, unless
    --host opens it to a class: the printed address is the teacher's, whose page invites the others.

    Example: siglum studio photos/
    Example: siglum studio my-signs --host 0.0.0.0 --port 8000

    Args:
        source: Folder of a set of signs, created if missing; or a bundle, a zip or a folder with a
            folder of images for each class, or strokes (.ndjson, .inkml, ...), which become a new
            set beside it.
        host: Address to listen on; 0.0.0.0 for all network interfaces.
        port: Port to listen at; 0 for a free one. Default: 7445, or a free one if it is in use.
        backbone: Backbone of your own.
        no_browser: Print the address without opening it.
    """
    # An answer takes milliseconds; more threads only wait for each other. numpy is imported below.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from siglum.cli import terminal
    from siglum.formatting import count
    from siglum.recogniser.predict import default_backbone, open_backbone
    from siglum.studio import app, exchange
    from siglum.studio.workers import Workers

    _check_port(port)
    network = default_backbone() if backbone is None else open_backbone(backbone)
    with terminal.progress_line() as line:
        opened, messages = exchange.open_source(source, network, line.load)
    for message in messages:
        terminal.print_line(message)
    with contextlib.closing(opened):
        try:
            address = app.listen(host, PORT if port is None else port)
        except ConfigError:
            if port is not None:
                raise
            address = app.listen(host, 0)
        state = opened.current.state
        signs, drawings = count(len(state.classes), "sign"), count(len(state.drawings), "drawing")
        terminal.print_line(f"{opened.store.folder}: {signs}, {drawings}")
        print(f"{address.url}   Press Ctrl-C to stop.", flush=True)
        if address.token:
            terminal.print_line("This address is the teacher's. Pupils are invited under Class.")
        if not no_browser:
            threading.Thread(target=webbrowser.open, args=(address.url,), daemon=True).start()
        with (
            contextlib.closing(Workers(network)) as workers,
            contextlib.suppress(KeyboardInterrupt),
        ):
            app.create_server(opened, address, workers).run(sockets=[address.socket])
    terminal.print_line(f"Everything is saved in {opened.store.folder}.")


def serve(
    bundle: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int | None = None,
) -> None:
    """Recognise images and strokes by a REST API, for other programs.

    The address /docs lists its requests. Only this machine can reach it, unless --host opens it:
    then every request needs the token that is printed, or that of the variable SIGLUM_TOKEN.

    Example: siglum serve greek.siglum
    Example: SIGLUM_TOKEN=... siglum serve greek.siglum --host 0.0.0.0

    Args:
        bundle: A file whose name ends in .siglum.
        host: Address to listen on; 0.0.0.0 for all network interfaces.
        port: Port to listen at; 0 for a free one.
        workers: Processes that read images. Default: one for each processor, at most 32.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as above
    from siglum.cli import terminal
    from siglum.formatting import count
    from siglum.recogniser.predict import load
    from siglum.studio import app, service
    from siglum.studio.workers import Workers, ping

    _check_port(port)
    processes = min(MAX_WORKERS, os.cpu_count() or 1) if workers is None else workers
    if not 1 <= processes <= MAX_WORKERS:
        raise ConfigError(f"workers must be in [1, {MAX_WORKERS}], got {workers}.")
    token = os.environ.get("SIGLUM_TOKEN")
    if token is not None and not re.fullmatch("[!-~]{16,}", token):
        raise ConfigError("SIGLUM_TOKEN must be 16 or more ASCII characters, without blanks.")
    recogniser = load(bundle)
    address = app.listen(host, port)
    address = address._replace(token=token or address.token)
    classes = count(len(recogniser.classes), "class", "classes")
    running = count(processes, "process", "processes")
    with (
        contextlib.closing(Workers(recogniser, processes)) as pool,
        contextlib.suppress(KeyboardInterrupt),
    ):
        asyncio.run(pool.run(ping))  # an error ends the command here, not at the first request
        terminal.print_line(f"{bundle}: {classes}, {running}")
        if address.token and not token:
            terminal.print_line(f"Send with each request: Authorization: Bearer {address.token}")
        print(f"{address.url.partition('?')[0]}docs   Press Ctrl-C to stop.", flush=True)
        service.create_service(address, pool).run(sockets=[address.socket])


def _check_port(port: int | None) -> None:
    if port is not None and not 0 <= port <= 65535:
        raise ConfigError(f"port must be in [0, 65535], got {port}.")
