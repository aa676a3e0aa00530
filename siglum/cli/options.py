"""Options that several commands share, and the files that they name."""

import csv
import tomllib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from siglum.errors import ConfigError

Flag = Annotated[bool, Parameter(negative=())]
Json = Annotated[bool, Parameter(negative=(), help="Print JSON.")]
Csv = Annotated[bool, Parameter(negative=(), help="Print CSV.")]
Out = Annotated[Path | None, Parameter(name=["--out", "-o"])]
Renames = Annotated[
    Path | None, Parameter(help="CSV file of lines old,new that renames or merges classes.")
]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str, Parameter(help="auto (bfloat16 where the processor supports it), float32 or bfloat16.")
]
Threads = Annotated[int, Parameter(help="CPU threads; 0 for one per core.")]


def read_renames(path: Path | None, option: str = "rename") -> dict[str, str]:
    """Read a CSV file of lines `old,new`; return {} for None.

    Raises:
        ConfigError: if the file cannot be read, a line is not two names, or a name occurs twice.
    """
    if path is None:
        return {}
    names: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{option} must be a CSV file in UTF-8, got {path}: {error}.") from None
    for row in rows:
        if len(row) != 2 or not all(row):
            raise ConfigError(f"{option} must have lines old,new, got {','.join(row)!r} in {path}.")
        if row[0] in names:
            raise ConfigError(f"{option} must rename a class once, got {row[0]!r} twice in {path}.")
        names[row[0]] = row[1]
    return names


def read_toml(path: Path, option: str = "config") -> dict[str, Any]:
    """Read a TOML file of settings.

    Raises:
        ConfigError: if the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{option} must be a TOML file, got {path}: {error}.") from None
