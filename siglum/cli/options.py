"""Options that several commands share, and the files that they name."""

import csv
import tomllib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators

from siglum.errors import ConfigError

Flag = Annotated[bool, Parameter(negative=())]
Json = Annotated[bool, Parameter(negative=(), help="Print JSON.")]
Csv = Annotated[bool, Parameter(negative=(), help="Print CSV.")]
Out = Annotated[Path | None, Parameter(name=["--out", "-o"])]
NewFile = Annotated[Path, Parameter(name=["--out", "-o"])]
Png = Annotated[
    Path | None, Parameter(name=["--out", "-o"], validator=validators.Path(ext=("png",)))
]
Renames = Annotated[
    Path | None, Parameter(help="CSV file of lines old,new that renames or merges classes.")
]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str, Parameter(help="auto (bfloat16 where the processor supports it), float32 or bfloat16.")
]
Threads = Annotated[int, Parameter(help="CPU threads; 0 for one per core.")]


def read_renames(path: Path | None, option: str = "rename") -> dict[str, str]:
    """Read a CSV file of lines `old,new`; return {} for None."""
    try:
        text = "" if path is None else path.read_text("utf-8-sig")
        rows = [row for row in csv.reader(text.splitlines()) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{option} must be a CSV file in UTF-8, got {path}: {error}.") from None
    names: dict[str, str] = {}
    for row in rows:
        if len(row) != 2 or not all(row) or row[0] in names:
            raise ConfigError(
                f"{option} must have lines old,new, each name once, got {','.join(row)!r} in "
                f"{path}."
            )
        names[row[0]] = row[1]
    return names


def read_toml(path: Path | None) -> dict[str, Any]:
    """Read a TOML file of settings; return {} for None."""
    try:
        return tomllib.loads("" if path is None else path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"config must be a TOML file, got {path}: {error}.") from None
