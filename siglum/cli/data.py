"""`siglum data`."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from siglum.cli import terminal
from siglum.cli.classes import read_names
from siglum.cli.loading import loading
from siglum.cli.terminal import Switch
from siglum.config import Preprocess, build
from siglum.errors import DataError
from siglum.images import sources
from siglum.images.contact_sheet import contact_sheet
from siglum.images.describe import Description, describe


def data(
    source: str,
    /,
    *,
    size: int = 28,
    fit: Literal["pad", "stretch"] = "pad",
    rename: Path | None = None,
    writers: str | None = None,
    sheet: Path | None = None,
    json: Switch = False,
) -> None:
    """Describe a source: pictures a class, sizes, polarity, exact duplicates, unreadable files.

    Example: siglum data folder:my-signs --sheet signs.png

    Args:
        source: mnist5k, idx:DIR, folder:DIR, archive:FILE, mnist, fashion-mnist, ...
        size: Side of the square that pictures are fitted to, for the sheet, px.
        fit: Fit pictures in with margins of paper, or stretch them.
        rename: A CSV file of lines old,new that renames classes.
        writers: A regular expression whose first group finds the writer in a file name.
        sheet: Where to write a sheet of samples, a PNG file.
        json: Print JSON.
    """
    preprocess = build(Preprocess, {"size": size, "resize": fit})
    found: list[tuple[str, Description]] = []
    for part in sources.parts(source):
        with loading() as progress:
            pictures = sources.load(
                source,
                part,
                preprocess,
                rename=read_names(rename),
                writers=writers,
                progress=progress,
            )
        found.append((part, describe(pictures)))
        if sheet is not None and len(found) == 1:
            terminal.save_picture(contact_sheet(pictures), sheet, "sheet")
    if not found:
        raise DataError(f"{source} must hold pictures, got none. Is it the right folder?")
    if json:
        terminal.write_json({part: asdict(about) for part, about in found})
        return
    for part, about in found:
        _print(part, about)
    if sheet is not None:
        print(f"Sheet: {sheet}")


def _print(part: str, about: Description) -> None:
    total = sum(about.counts)
    print(terminal.printable(f"{about.source} ({part})"))
    print(f"pictures    {total:,} of {len(about.classes)} classes")
    if about.writers is not None:
        print(f"writers     {about.writers}")
    sizes = ", ".join(f"{size} px: {count:,}" for size, count in about.sizes[:4])
    more = f", and {len(about.sizes) - 4} more sizes" if len(about.sizes) > 4 else ""
    print(f"sizes       {sizes}{more}")
    print(f"polarity    {_polarity(about.light_paper, total)}")
    same = f"{about.duplicates:,} pictures repeat another exactly"
    if about.contradictions:
        same += f", {about.contradictions:,} of them under another class"
    if about.duplicate_examples:
        first, second = about.duplicate_examples[0]
        same += f" (such as {first} and {second})"
    print(terminal.printable(f"duplicates  {same}"))
    for name, reason in about.unreadable:
        print(terminal.printable(f"left out    {name} {reason}"))
    print(f"fingerprint {about.fingerprint}")
    rows = list(zip(about.classes, about.counts, strict=True))
    terminal.show(terminal.table(("class", "pictures"), rows))
    print()


def _polarity(light: int, total: int) -> str:
    if light in (0, total):
        return "dark ink on light paper" if light else "light ink on dark"
    return f"{light:,} with dark ink on light paper, {total - light:,} with light ink on dark"
