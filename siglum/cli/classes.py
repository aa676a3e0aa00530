"""The `--classes` and `--merge` files: CSV of lines `old,new` that renames classes."""

import csv
from pathlib import Path

from siglum.errors import ConfigError


def read_names(path: Path | None, flag: str = "rename") -> dict[str, str]:
    """Return the new name of each class in the file that `flag` gave; {} for None.

    Raises:
        ConfigError: if the file cannot be read, or a line is not two names, or one comes twice.
    """
    if path is None:
        return {}
    names: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{flag} must be a CSV file in UTF-8, got {path}: {error}.") from None
    for row in rows:
        if len(row) != 2 or not all(row):
            raise ConfigError(f"{flag} must have lines old,new, got {','.join(row)!r} in {path}.")
        if row[0] in names:
            raise ConfigError(f"{flag} must rename a class once, got {row[0]!r} twice in {path}.")
        names[row[0]] = row[1]
    return names
