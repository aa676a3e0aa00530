"""`siglum studio`."""

import contextlib
import shutil
import threading
import webbrowser
from pathlib import Path

from siglum.cli import terminal
from siglum.cli.loading import loading
from siglum.cli.terminal import Switch
from siglum.errors import ConfigError, DataError
from siglum.images.samples import FOLDERS, LEDGER, REMOVED, listed
from siglum.recogniser import backbone as backbones
from siglum.recogniser.bundle import SUFFIX
from siglum.recogniser.predict import Recogniser
from siglum.studio import receive, server
from siglum.studio.app import build
from siglum.studio.studio import Studio

FOLDER = Path("my-signs")
PORT = 7445


def studio(
    place: Path = FOLDER,
    /,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    backbone: Path | None = None,
    no_browser: Switch = False,
) -> None:
    """Open a page to draw, teach, try and correct signs; it works without a network.

    What is drawn is kept in a folder at once, and every command reads it. Ctrl-C ends the page;
    nothing is lost then, nor if it is killed. Only this machine can reach it, unless --host says
    otherwise: then whoever has the address with its token can draw, as in a class-room.

    Example: siglum studio

    Example: siglum studio greek.siglum

    Example: siglum studio my-signs --host 0.0.0.0 --port 8000

    Args:
        place: A folder of samples, which is made where there is none; or a bundle, whose samples
            become a folder beside it.
        host: The address to listen at; 0.0.0.0 for all of this machine.
        port: The port to listen at; 0 for any that is free. By default 7445, so that a page that
            is still open finds the Studio again; any, where another program listens there.
        backbone: A backbone of your own; by default the one that comes with Siglum.
        no_browser: Print the address, and leave it to you to open it.
    """
    if port is not None and not 0 <= port <= 65535:
        raise ConfigError(f"port must be in [0, 65535], got {port}.")
    behind = backbones.shipped() if backbone is None else backbones.given(backbone)
    bundle = place if place.suffix == SUFFIX and not place.is_dir() else None
    folder = place if bundle is None else place.with_suffix("")
    if bundle is not None and not (folder / LEDGER).exists():
        _begin(folder, bundle, behind)
    _check_folder(folder)
    with loading() as progress:
        opened = Studio(folder, behind, lambda done, total: progress("drawings", done, total))
    with contextlib.closing(opened):
        address = _listen(host, port)
        state = opened.current.state
        signs, drawings = len(state.classes), len(state.drawings)
        print(terminal.printable(f"{folder}: {signs:,} signs, {drawings:,} drawings"))
        print(f"{address.url}   Ctrl-C ends it.", flush=True)
        if not no_browser:
            threading.Thread(target=webbrowser.open, args=(address.url,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.serving(build(opened), address).run(sockets=[address.listening])
    print(f"Everything is kept in {terminal.printable(str(folder))}.")


def _listen(host: str, port: int | None) -> server.Address:
    """Listen at a port, or at the usual one, or where that is taken at any."""
    if port is not None:
        return server.listen(host, port)
    try:
        return server.listen(host, PORT)
    except ConfigError:
        return server.listen(host, 0)


def _begin(folder: Path, bundle: Path, behind: Recogniser) -> None:
    """Make a folder of a bundle's samples, whole or not at all.

    Raises:
        DataError: if there is no such bundle, or something else where the folder would be.
    """
    if folder.exists():
        raise DataError(
            f"{folder} must be free, or hold the samples of {bundle.name}, got something else. "
            "Rename the bundle."
        )
    try:
        raw = bundle.read_bytes()
    except OSError as error:
        raise DataError(
            f"{bundle} must be a file that can be read, got {error.strerror!r}."
        ) from None
    unfinished = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with contextlib.closing(Studio(unfinished, behind)) as made:
            _, taken = receive.receive(made, raw, "", receive.Job())
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(terminal.printable(" ".join(taken.said)))


def _check_folder(folder: Path) -> None:
    """Raise DataError for what is no folder of the Studio's, and no empty one."""
    if folder.exists() and not folder.is_dir():
        raise DataError(
            f"{folder} must be a folder of samples or a bundle ({SUFFIX}), got another file."
        )
    own = {LEDGER, REMOVED, *FOLDERS.values()}
    there = [path for path in listed(folder) if not path.name.startswith(".")]
    others = [path for path in there if path.name not in own]
    if others and len(others) == len(there):
        raise DataError(
            f"{folder} must be a folder that the Studio made, or a new one, got one with "
            f"{others[0].name!r} in it. To take in pictures, zip them in a folder a sign, and open "
            "the zip in a new Studio."
        )
