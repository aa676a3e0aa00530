"""`siglum compare`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from siglum.cli import terminal
from siglum.cli.terminal import Switch
from siglum.errors import ConfigError
from siglum.lab.compare import arms_of
from siglum.lab.compare import compare as compare_arms
from siglum.lab.finding import finding
from siglum.lab.runs import Run
from siglum.report.comparison import About, Format, write_comparison
from siglum.report.comparison_tables import Table, pairs_short, short_table

ENDINGS: dict[str, Format] = {".html": "html", ".md": "md", ".json": "json"}


def compare(
    *runs: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    json: Switch = False,
) -> None:
    """Tell which way of training is better, and how sure that is.

    Runs whose settings are equal but for the seed are one arm. Arms are compared on the same
    pictures with the same seeds: over the seeds by Student's t, picture by picture by McNemar's
    test and the bootstrap. docs/comparing.md explains how to read it.

    Example: siglum compare runs/a-1 runs/a-2 runs/b-1 runs/b-2 -o compared.html

    Args:
        runs: The runs' folders.
        out: Where to write a page: a file that ends in .html, .md or .json.
        json: Print everything as JSON.
    """
    format = None if out is None else format_of(out)
    arms = arms_of(Run(path) for path in runs)
    if len(arms) < 2:
        raise ConfigError(
            f"compare must be given at least 2 arms, got {len(arms)} in {len(runs)} runs. "
            "Give runs that differ in more than the seed."
        )
    comparison = compare_arms(arms)
    if out is not None and format is not None:
        names = [arm.name for arm in arms]
        title = " against ".join(names) if len(arms) == 2 else f"{len(arms)} arms compared"
        write_comparison(comparison, About(title), out, format)
    if json:
        terminal.write_json({"finding": finding(comparison), **asdict(comparison)})
        return
    print(f"{terminal.printable(finding(comparison))}\n")
    _show(short_table(comparison))
    print()
    _show(pairs_short(comparison))
    if out is not None:
        print(f"\nComparison: {out}")


def format_of(out: Path) -> Format:
    """Return the kind of page that a file's name asks for.

    Raises:
        ConfigError: if it asks for none of them.
    """
    if out.suffix not in ENDINGS:
        raise ConfigError(f"--out must end in {', '.join(ENDINGS)}, got {str(out)!r}.")
    return ENDINGS[out.suffix]


def _show(table: Table) -> None:
    terminal.show(terminal.table(table.head, table.rows))
