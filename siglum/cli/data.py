"""`siglum data`."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from siglum.cli import options, output
from siglum.cli.progress import loading_bar
from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError
from siglum.files import atomic_path
from siglum.images import contact_sheet, decode, ink, sources
from siglum.images.folder import expand_files
from siglum.images.imageset import ImageSet

INK_SIZE = 64  # px, side of the extracted ink


def data(
    *places: str,
    show_ink: options.Flag = False,
    out: options.Png = None,
    rename: options.Renames = None,
    writers: str | None = None,
    json: options.Json = False,
) -> None:
    """Describe a source of images, or show the ink that is extracted from image files.

    Example: siglum data my-signs -o samples.png
    Example: siglum data --show-ink photo.jpg scans -o ink.png

    Args:
        places: A source: a folder with a folder per class, a zip, a CSV file, mnist5k, ...
            With --show-ink: image files, patterns such as '*.png', or folders of images.
        show_ink: Extract the ink of images, as recognisers do, and report problems.
        out: PNG file to write: samples of each class, or images before and after.
        writers: Regular expression whose first group is the writer in a file name.
    """
    if not places or (len(places) > 1 and not show_ink):
        raise ConfigError(f"data describes one source, got {len(places)}.")
    if show_ink:
        _show_ink(expand_files(places), out, json)
        return
    source, names = places[0], options.read_renames(rename)
    with loading_bar() as progress:
        parts = {
            part: sources.load(
                source, part, Preprocess(), rename=names, writers=writers, progress=progress
            )
            for part in sources.parts(source, progress)
        }
    if out is not None:
        _save(contact_sheet.contact_sheet(next(iter(parts.values()))), out)
    records = {part: _describe(images) for part, images in parts.items()}
    if json:
        output.print_json(records)
        return
    for part, images in parts.items():
        output.print_facts({"part": part, **records[part], "unreadable": None, "counts": None})
        for name, reason in images.unreadable:
            output.print_line(f"not read: {name}: {reason}")
        rows = zip(images.classes, records[part]["counts"], strict=True)
        output.print_table(("class", "images"), rows)
        print()


def _describe(images: ImageSet) -> dict[str, Any]:
    if (originals := images.originals) is not None:
        digests, light = originals["digest"][images.rows].tolist(), originals["light"][images.rows]
        sides = originals["size"][images.rows].tolist()
    else:
        digests = [hash(image.tobytes()) for image in images.images]
        light, sides = decode.has_light_background(images.images), [images.shape[1:]] * len(images)
    sizes = Counter(f"{width} x {height} px" for height, width in sides)
    labelled = {*zip(digests, images.labels.tolist(), strict=True)}
    return {
        "source": images.source,
        "images": len(images),
        "classes": images.classes,
        "counts": images.counts.tolist(),
        "writers": None if images.writers is None else len({*images.writers}),
        "sizes": dict(sizes.most_common()),
        "dark_on_light": int(light.sum()),
        "light_on_dark": int((~light).sum()),
        "exact_duplicates": len(digests) - len({*digests}),
        "of_them_in_another_class": len(labelled) - len({*digests}),
        "unreadable": images.unreadable,
        "fingerprint": images.fingerprint,
    }


def _show_ink(files: list[Path], out: Path | None, json: bool) -> None:
    rows, unreadable = [], []
    for file in files:
        try:
            image = decode.read(file, max_side=2 * ink.WORKING)
            rows.append((decode.as_text(str(file)), image, *ink.normalise(image, INK_SIZE)))
        except DataError as error:
            unreadable.append((str(file), str(error)))
    if json:
        output.print_json(
            [{"file": name, **asdict(r), "warnings": r.warnings()} for name, _, _, r in rows]
        )
    for name, _, _, report in [] if json else rows:
        kind = "no ink" if report.empty else "dark ink" if report.inverted else "light ink"
        output.print_line(f"{name}: {'; '.join([kind, *report.warnings()])}")
    if out is not None and rows:
        _save(contact_sheet.comparison(rows), out)
    output.raise_for_unreadable(unreadable, len(files))


def _save(image: Image.Image, path: Path) -> None:
    with atomic_path(path) as temporary:
        image.save(temporary, "PNG")
