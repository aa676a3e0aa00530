"""`siglum studio`."""

import contextlib
import os
import threading
import webbrowser
from pathlib import Path

from siglum.errors import ConfigError

PORT = 7445  # the default, so that an open page reaches the next Studio again


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

    if port is not None and not 0 <= port <= 65535:
        raise ConfigError(f"port must be in [0, 65535], got {port}.")
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
        with contextlib.suppress(KeyboardInterrupt):
            app.create_server(opened, address).run(sockets=[address.socket])
    terminal.print_line(f"Everything is saved in {opened.store.folder}.")
