"""How well a backbone teaches: the table of few-shot and zero-shot settings on real handwriting.

python -m benchmarks.fewshot
python -m benchmarks.fewshot --backbone a.siglum --backbone b.siglum --set mnist --half tune

Sets lie under SIGLUM_DATA. Every task is taught as `siglum teach` does and read as `siglum predict`
does; features are computed once a set. With several backbones the first table has a column for
each, in which ablations can be read. `tune` is the half on which settings of teaching may be
chosen (benchmarks/fewshot_tune.py), `report` the other; how they are parted: fewshot_sets.py.
"""

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.fewshot_measure import Certainty, Row, certainty, outcome, rows
from benchmarks.fewshot_sets import Half, seen
from benchmarks.fewshot_strangers import Refusals, as_shipped, encounters
from benchmarks.fewshot_tasks import SETS
from siglum.recogniser import backbone as backbones
from siglum.recogniser.predict import Recogniser

STRANGERS = "strangers"
INTERVALS = {
    "writer": "bootstrap over writers",
    "run": "bootstrap over runs",
    "draw": "least and most of the draws",
    "picture": "over pictures",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", type=Path, action="append", help="by default the shipped one")
    parser.add_argument("--set", action="append", choices=[*SETS, STRANGERS], help="default: all")
    parser.add_argument("--half", choices=["tune", "report", "all"], default="report")
    parser.add_argument("--json", type=Path, help="write everything there, too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # pictures that are left out are known: README of the sets
    chosen = options.set or [*SETS, STRANGERS]
    names = [str(path) for path in options.backbone or ["shipped"]]
    tables = []
    for path in options.backbone or [None]:
        behind = backbones.shipped() if path is None else backbones.given(path)
        tables.append(measured(behind, chosen, options.half))
        seen.cache_clear()  # its features; the next one has its own
    print(f"half: {options.half}\n")
    show(names, [table[0] for table in tables])
    for name, (_, sure, strange) in zip(names, tables, strict=True):
        print(f"\n{name}: probabilities, sets of 95 %, refusals of 2 %")
        show_certainty(sure)
        if strange:
            print(f"\n{name}: strangers")
            show_refusals(strange)
    if options.json:
        everything = {
            name: {
                "rows": [asdict(row) for row in table[0]],
                "certainty": [asdict(row) for row in table[1]],
                "strangers": [asdict(row) for row in table[2]],
            }
            for name, table in zip(names, tables, strict=True)
        }
        whole = {"half": options.half, "backbones": everything}
        options.json.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def measured(
    backbone: Recogniser, chosen: Sequence[str], half: Half
) -> tuple[list[Row], list[Certainty], list[Refusals]]:
    """Measure a backbone on some sets."""
    shares, sure, strange = [], [], []
    for name in chosen:
        if name == STRANGERS:
            strange = [as_shipped(backbone, *met) for met in encounters(backbone, half)]
            continue
        for setting in SETS[name](backbone, half):
            outcomes = [outcome(backbone, task) for task in setting.tasks]
            shares += rows(setting, outcomes)
            if not setting.measures[0].same:  # else what is merged is not what is likely
                sure.append(certainty(setting, outcomes))
    return shares, sure, strange


def show(names: Sequence[str], columns: Sequence[Sequence[Row]]) -> None:
    """Print what is right (or wrong) with its interval, a column a backbone."""
    head = ["set", "setting", "%", *names, "pictures", "interval", "at least", "aim"]
    lines = []
    for group in zip(*columns, strict=True):
        row = group[0]
        many = f" x {row.tasks}" if row.tasks > 1 else ""
        lines.append(
            [
                row.set,
                row.setting,
                "wrong" if row.error else "right",
                *(said(one) for one in group),
                f"{row.pictures:,}{many}",
                INTERVALS[row.by],
                goal(row.least, row.error),
                goal(row.aim, row.error),
            ]
        )
    table(head, lines)


def said(row: Row) -> str:
    """Write a row's share with its interval, and a mark where it is below what is wanted."""
    value, low, high = (100 * share for share in (row.share, row.low, row.high))
    if row.error:
        value, low, high = 100 - value, 100 - high, 100 - low
    met = "" if row.least is None else " !" if row.share < row.least else ""
    reached = " *" if row.aim is not None and row.share >= row.aim else ""
    return f"{value:.1f} ({low:.1f} to {high:.1f}){met}{reached}"


def goal(share: float | None, error: bool) -> str:
    """Write what is wanted."""
    return "" if share is None else f"{100 * (1 - share if error else share):.4g}"


def show_certainty(found: Sequence[Certainty]) -> None:
    """Print losses in nats a picture, and shares in per cent."""
    head = ["set", "setting", "loss", "ECE", "T", "best T", "loss then"]
    head += ["covered", "set size", "promised", "refused"]
    table(
        head,
        [
            [
                row.set,
                row.setting,
                f"{row.loss:.3f}",
                f"{100 * row.ece:.1f}",
                f"{row.temperature:.2f}",
                f"{row.best:.2f}",
                f"{row.best_loss:.3f}",
                f"{100 * row.covered:.1f}",
                f"{row.size:.2f}",
                "yes" if row.promised > 0.5 else "guess",
                f"{100 * row.refused:.1f}",
            ]
            for row in found
        ],
    )


def show_refusals(found: Sequence[Refusals]) -> None:
    """Print shares in per cent."""
    head = ["taught; strangers", "draws", "true", "strangers", "ROC area", "pass at 2 %"]
    head += ["refused", "accepted", "by"]
    table(
        head,
        [
            [
                row.setting,
                str(row.encounters),
                f"{row.true:,}",
                f"{row.strangers:,}",
                f"{100 * row.area:.1f}",
                f"{100 * row.passed:.1f}",
                f"{100 * row.refused:.1f}",
                f"{100 * row.accepted:.1f}",
                "samples" if row.promised else "guess",
            ]
            for row in found
        ],
    )


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print columns, parted by two blanks."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in (head, *lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    main()
