"""`siglum normalise`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from siglum.cli import terminal
from siglum.cli.terminal import Switch
from siglum.errors import ConfigError, DataError
from siglum.images import decode
from siglum.images import ink as normaliser
from siglum.images.contact_sheet import comparison


def normalise(
    *files: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    size: int = 64,
    json: Switch = False,
) -> None:
    """Show what is taken for ink in pictures: before, after, and what was found.

    Photos that a network reads go this way first: see docs/pictures.md.

    Example: siglum normalise photo.jpg drawing.png -o sheet.png

    Args:
        files: Picture files.
        out: Where to write a sheet of the pictures before and after, a PNG file.
        size: Side of the square that the ink is brought into, px.
        json: Print JSON.
    """
    if not files:
        raise DataError("normalise must have at least one picture file, got none.")
    if not 8 <= size <= 1024:
        raise ConfigError(f"size must be at least 8 and at most 1024, got {size}.")
    if out is not None and out.suffix.lower() != ".png":
        raise ConfigError(f"out must end in .png, got {str(out)!r}.")
    rows = []
    found: list[tuple[str, normaliser.InkReport]] = []
    unreadable: list[tuple[str, str]] = []
    for file in files:
        try:
            picture = decode.read(file, max_side=2 * normaliser.WORKING)
        except DataError as error:
            unreadable.append((str(file), str(error)))
            continue
        ink, evidence = normaliser.normalise(picture, size)
        found.append((str(file), evidence))
        if out is not None:
            rows.append((file.name, picture, ink, evidence))
    if json:
        terminal.write_json(
            [
                {"file": name, **asdict(evidence), "warnings": evidence.warnings()}
                for name, evidence in found
            ]
        )
    else:
        for name, evidence in found:
            print(terminal.printable(name))
            for sentence in evidence.warnings():
                print(f"  {sentence}")
    if out is not None and rows:
        terminal.save_picture(comparison(rows), out, "out")
        if not json:
            print(f"Sheet: {out}")
    terminal.refuse(unreadable, len(files))
