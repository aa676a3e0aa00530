"""Where each face of a `fonts:` source comes from: its folder, its package, its licence.

Packages and licences are told by `files.csv`, which `fonts/install.py` writes beside the fonts.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from siglum.errors import ConfigError, DataError
from siglum.images import charsets, faces, fonts
from siglum.images.sources import find

LIST = "files.csv"


@dataclass(frozen=True)
class Origin:
    """Where one face comes from; "" where nobody says."""

    kind: str  # such as "hand": as the list says, else the first folder below the fonts' place
    package: str  # with its version
    licence: str  # as SPDX has it


def origins(spec: str) -> dict[str, Origin]:
    """Return the origin of every face of a source, by the face's name.

    A face in several files comes from the first by name.

    Raises:
        ConfigError: if `spec` is no `fonts:` source.
        DataError: if the list beside the fonts is none.
    """
    if spec.partition(":")[0] != "fonts":
        raise ConfigError(f"source must be fonts:DIR, whose faces are known, got {spec!r}.")
    where, _, named = spec.partition(":")[2].partition(fonts.CHOICE)
    folders = [find(spec)[1]] if where else faces.system_folders()
    wanted = charsets.resolve(named or ",".join(charsets.groups()))
    listed = {file: origin for folder in folders for file, origin in _listed(folder)}
    found, _, _ = fonts.scan(folders, wanted, spec)
    files = {face.name: Path(face.parts[0].path) for face in found}
    return {
        name: listed.get(file.absolute()) or _unlisted(file, folders)
        for name, file in files.items()
    }


def _unlisted(file: Path, folders: list[Path]) -> Origin:
    above = next(folder for folder in folders if file.is_relative_to(folder))
    inner = file.relative_to(above).parts
    return Origin(inner[0] if len(inner) > 1 else "", "", "")


def _listed(folder: Path) -> Iterator[tuple[Path, Origin]]:
    """Yield each file that the list in or above a folder names, with its origin."""
    folder = folder.absolute()
    place = next((p for p in (folder, *folder.parents) if (p / LIST).is_file()), None)
    if place is None:
        return
    try:
        with (place / LIST).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                package = f"{row['package']} {row['version']}"
                yield place / row["file"], Origin(row["kind"], package, row["licence"])
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise DataError(
            f"{place / LIST} must be a list as fonts/install.py writes it, got another ({error})."
        ) from None
