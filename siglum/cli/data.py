"""`siglum data`."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from siglum.cli import output
from siglum.cli.options import Flag, Json, Renames, read_renames
from siglum.cli.progress import loading_bar
from siglum.config import Preprocess, build
from siglum.errors import ConfigError, DataError
from siglum.formatting import count
from siglum.images import decode, ink, sources
from siglum.images.contact_sheet import comparison, contact_sheet
from siglum.images.folder import expand_files
from siglum.images.imageset import ImageSet

Sheet = Annotated[Path | None, Parameter(name=["--sheet", "--out", "-o"])]


def data(
    *places: str,
    show_ink: Flag = False,
    sheet: Sheet = None,
    size: int | None = None,
    resize: Literal["pad", "stretch"] = "pad",
    rename: Renames = None,
    writers: str | None = None,
    json: Json = False,
) -> None:
    """Describe a source of images, or show the ink that is extracted from image files.

    Example: siglum data my-signs --sheet samples.png

    Example: siglum data --show-ink photo.jpg scans -o ink.png

    Args:
        places: One source: a folder with a folder per class, a zip, tar or CSV file, mnist5k, ...
            With --show-ink: image files, patterns such as '*.png', or folders of images.
        show_ink: Extract the ink of images, as recognisers do, and report problems.
        sheet: PNG file to write: samples of each class, or images before and after.
        size: Side of the square that images are resized to, px; by default 28, for ink 64.
        resize: Pad images to a square with their background, or stretch them.
        writers: Regular expression whose first group is the writer in a file name.
    """
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ConfigError(f"sheet must end in .png, got {str(sheet)!r}.")
    if not places or (len(places) > 1 and not show_ink):
        raise ConfigError(f"data describes one source, got {len(places)}.")
    preprocess = build(Preprocess, {"size": size or (64 if show_ink else 28), "resize": resize})
    if show_ink:
        _show_ink(expand_files(places), preprocess.size, sheet, json)
        return
    described: dict[str, dict[str, Any]] = {}
    names = read_renames(rename)
    with loading_bar() as progress:
        for part in sources.parts(places[0], progress):
            images = sources.load(
                places[0], part, preprocess, rename=names, writers=writers, progress=progress
            )
            if sheet is not None and not described:
                output.save_image(contact_sheet(images), sheet)
            described[part] = describe(images)
    if json:
        output.print_json(described)
        return
    for part, facts in described.items():
        output.print_line(f"{facts['source']} ({part})")
        output.print_facts(_words(facts))
        for name, reason in facts["unreadable"]:
            output.print_line(f"not read     {name}: {reason}")
        output.print_table(("class", "images"), zip(facts["classes"], facts["counts"], strict=True))
        print()


def describe(images: ImageSet) -> dict[str, Any]:
    """Return counts, sizes, polarity, exact duplicates and unreadable files of a set."""
    if (originals := images.originals) is not None:
        digests, light = originals.digests[images.rows].tolist(), originals.light[images.rows]
        sides = originals.sizes[images.rows].tolist()
    else:
        digests = [hash(image.tobytes()) for image in images.images]
        light, sides = decode.has_light_background(images.images), [images.shape[1:]] * len(images)
    first: dict[int, int] = {}
    pairs = [(first.setdefault(digest, row), row) for row, digest in enumerate(digests)]
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    names = images.files or range(len(images))
    return {
        "source": images.source,
        "classes": images.classes,
        "counts": images.counts.tolist(),
        "writers": None if images.writers is None else len({*images.writers}),
        "sizes": Counter(f"{width} x {height}" for height, width in sides).most_common(),
        "light_background": int(light.sum()),
        "duplicates": len(pairs),
        "contradictions": sum(bool(images.labels[a] != images.labels[b]) for a, b in pairs),
        "duplicate_examples": [(str(names[a]), str(names[b])) for a, b in pairs[:5]],
        "unreadable": images.unreadable,
        "fingerprint": images.fingerprint,
    }


def _words(facts: dict[str, Any]) -> dict[str, object]:
    total, light = sum(facts["counts"]), facts["light_background"]
    sizes = [f"{size} px: {number:,}" for size, number in facts["sizes"]]
    same = f"{facts['duplicates']:,} repeat another image exactly"
    if facts["duplicate_examples"]:
        same += f", {facts['contradictions']:,} of them in another class"
        same += f" (such as {' and '.join(facts['duplicate_examples'][0])})"
    return {
        "images": f"{total:,} of {count(len(facts['classes']), 'class', 'classes')}",
        **({"writers": facts["writers"]} if facts["writers"] else {}),
        "sizes": ", ".join([*sizes[:4], f"{len(sizes) - 4} more sizes"][: len(sizes)]),
        "ink": f"dark on light in {light:,}, light on dark in {total - light:,}",
        "duplicates": same,
        "fingerprint": facts["fingerprint"],
    }


def _show_ink(files: list[Path], size: int, sheet: Path | None, json: bool) -> None:
    rows, unreadable = [], []
    for file in files:
        try:
            image = decode.read(file, max_side=2 * ink.WORKING)
            rows.append((decode.as_text(str(file)), image, *ink.normalise(image, size)))
        except DataError as error:
            unreadable.append((str(file), str(error)))
    if json:
        output.print_json(
            [{"file": name, **asdict(r), "warnings": r.warnings()} for name, _, _, r in rows]
        )
    for name, _, _, report in [] if json else rows:
        kind = "no ink" if report.empty else "dark ink" if report.inverted else "light ink"
        output.print_line(f"{name}: {'; '.join([kind, *report.warnings()])}")
    if sheet is not None and rows:
        output.save_image(comparison(rows), sheet)
    output.raise_for_unreadable(unreadable, len(files))
