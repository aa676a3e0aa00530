"""`siglum compare`."""

from pathlib import Path

from siglum.cli.options import Json, Out
from siglum.cli.output import print_json, print_line, print_table
from siglum.errors import ConfigError
from siglum.lab.compare import compare_runs, group_runs
from siglum.lab.runs import Run
from siglum.report import compare as page


def compare(*runs: Path, out: Out = None, plots: Path | None = None, json: Json = False) -> None:
    """Compare ways of training: which is more accurate, and how certain that is.

    Runs whose settings differ in the seed alone are one variant. Variants are compared on the same
    images with the same seeds. docs/comparing.md explains how to read the result.

    Example: siglum compare runs/a-1 runs/a-2 runs/b-1 runs/b-2 -o compared.html

    Args:
        runs: The runs' folders.
        out: Write a page, .html, or the numbers, .json or .csv.
        plots: Write every plot into this folder, as PNG, SVG and CSV.
    """
    if out is not None:
        page.check_suffix(out)
    variants = group_runs(Run(path) for path in runs)
    if len(variants) < 2:
        raise ConfigError(
            f"compare needs at least 2 variants, got {len(variants)} in {len(runs)} runs. "
            "Give runs that differ in more than the seed."
        )
    comparison = compare_runs(variants)
    if out is not None:
        page.write_comparison(comparison, out, f"{len(variants)} variants")
    if plots is not None:
        for plot in page.draw(comparison):
            plot.save(plots)
    if json:
        print_json(page.to_json(comparison))
        return
    print_line(page.headline(comparison))
    tables = page.tables(comparison)
    for name in ("variants", "pairs"):
        print()
        print_table(tables[name].columns, tables[name].rows)
    if out is not None:
        print(f"\nComparison: {out}")
