"""`siglum studio` and `siglum serve`."""

import os
import signal
import threading
import webbrowser
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from siglum.errors import ConfigError

PORT = 7445  # the default, so that an open page reaches the next Studio again
PORTS = Parameter(validator=validators.Number(gte=0, lte=65535))
MIN_TOKEN = 16  # characters


def studio(
    source: Path = Path("my-signs"),
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int | None, PORTS] = None,
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
            set beside it; or a file of 'siglum label-issues -o', to review the suspects.
        host: Address to listen on; 0.0.0.0 for all network interfaces.
        port: Port to listen at; 0 for a free one. Default: 7445, or a free one if it is in use.
        backbone: Backbone of your own.
        no_browser: Print the address without opening it.
    """
    # An answer takes milliseconds; more threads only wait for each other. numpy is imported below.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from siglum.cli import terminal
    from siglum.formatting import count
    from siglum.images import formats
    from siglum.recogniser.predict import default_backbone, open_backbone
    from siglum.studio import app, exchange, label_review
    from siglum.studio.workers import Workers

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    network = default_backbone() if backbone is None else open_backbone(backbone)
    is_review = source.suffix == ".csv" and source.is_file() and not formats.kind_of(source)
    open_ = label_review.open_review if is_review else exchange.open_source
    with terminal.progress_line() as line:
        opened, messages = open_(source, network, line.load)
    for message in messages:
        terminal.print_line(message)
    with closing(opened):
        try:
            address = app.listen(host, PORT if port is None else port)
        except ConfigError:
            if port is not None:
                raise
            address = app.listen(host, 0)
        state = opened.current.state
        signs, drawings = count(len(state.classes), "sign"), count(len(state.drawings), "drawing")
        terminal.print_line(f"{opened.store.folder}: {signs}, {drawings}")
        url = f"{address.url}#review" if is_review else address.url
        print(f"{url}   Press Ctrl-C to stop.", flush=True)
        if address.token:
            terminal.print_line("This address is the teacher's. Pupils are invited under Class.")
        if not no_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        with closing(Workers(network)) as workers, suppress(KeyboardInterrupt):
            app.create_server(opened, address, workers).run(sockets=[address.socket])
    terminal.print_line(f"Everything is saved in {opened.store.folder}.")
    if is_review:
        terminal.print_line(label_review.write_corrected(source, opened.store.state))


def serve(bundle: Path, /, *, host: str = "127.0.0.1", port: Annotated[int, PORTS] = 8000) -> None:
    """Recognise images and strokes by a REST API, for other programs.

    The address /docs lists its requests. Only this machine can reach it, unless --host opens it:
    then requests need the token that is printed, or that of the variable SIGLUM_TOKEN.

    Example: siglum serve greek.siglum
    Example: SIGLUM_TOKEN=... siglum serve greek.siglum --host 0.0.0.0

    Args:
        bundle: A file whose name ends in .siglum.
        host: Address to listen on; 0.0.0.0 for all network interfaces.
        port: Port to listen at; 0 for a free one.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as above
    from siglum.cli import terminal
    from siglum.recogniser.predict import load
    from siglum.studio import app, service
    from siglum.studio.workers import Workers

    token = os.environ.get("SIGLUM_TOKEN", "")
    if token and (len(token) < MIN_TOKEN or not token.isascii()):
        raise ConfigError(f"SIGLUM_TOKEN must be {MIN_TOKEN} or more ASCII characters.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    recogniser = load(bundle)
    address = app.listen(host, port)
    if token:
        address = address._replace(token=token)
    elif address.token:
        terminal.print_line(f"Send with each request: Authorization: Bearer {address.token}")
    print(f"{address.url.partition('?')[0]}docs   Press Ctrl-C to stop.", flush=True)
    with closing(Workers(recogniser)) as workers, suppress(KeyboardInterrupt):
        service.create_service(address, workers).run(sockets=[address.socket])
