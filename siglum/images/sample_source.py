"""A folder of samples as a source: what `folder:DIR` reads where the pictures were drawn."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from siglum.errors import DataError
from siglum.images import class_folders, samples
from siglum.images.imageset import ImageSet
from siglum.images.samples import FOLDERS, LEDGER, listed

SAMPLE = re.compile(rf"(.+/)?({'|'.join(FOLDERS.values())})/[^/]+/{samples.NAME.pattern}\.png")


def place(root: Path, part: str, source: str) -> Path:
    """Return where the pictures of a part lie: of a folder of samples, or of any other, the root.

    Raises:
        DataError: if it is a folder of samples that has none of that part.
    """
    if not is_samples(root):
        return root
    chosen = root / FOLDERS["quiz" if part == "test" else "taught"]
    if not any(_pictures(chosen)):
        raise DataError(
            f"{source} must hold drawings to {'test with' if part == 'test' else 'learn from'}, "
            "got none yet."
        )
    return chosen


def parts(root: Path) -> tuple[str, ...]:
    """Return ("train", "test") for a folder of samples that has a quiz, else ("all",)."""
    quiz = is_samples(root) and any(_pictures(root / FOLDERS["quiz"]))
    return ("train", "test") if quiz else ("all",)


def with_writers(images: ImageSet, root: Path) -> ImageSet:
    """Name classes as `name.txt` says, and writers as samples do, where every picture is one."""
    files = images.files or ()
    names = {}
    for label, file in zip(images.labels.tolist(), files, strict=True):
        if label not in names:
            above, slash, last = images.classes[label].rpartition("/")
            said = class_folders.read_name((root / file).parent)
            names[label] = above + slash + class_folders.class_of(last, said)
    renamed = {
        images.classes[label]: name
        for label, name in names.items()
        if name != images.classes[label]
    }
    if renamed:
        images = images.rename(renamed)
    writers = []
    for file in files:
        if (writer := _writer((root / file).with_suffix(".json"))) is None:
            return images
        writers.append(writer)
    return replace(images, writers=tuple(writers))


def _writer(path: Path) -> str | None:
    """Return a sample's writer; None where nobody said, or this is no sample."""
    with suppress(DataError):
        value = samples.json_of(path)
        if isinstance(value, dict) and value.keys() >= {"version", "part", "writer"}:
            return samples.checked_writer(value["writer"]) or None
    return None


def is_samples(root: Path) -> bool:
    """Say whether a folder is one of samples, with its ledger or as somebody sent it."""
    return (root / LEDGER).is_file() or any(
        SAMPLE.fullmatch(f"{top}/-/{path.name}") and path.with_suffix(".json").is_file()
        for top in FOLDERS.values()
        for path in _pictures(root / top)
    )


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for top in listed(folder) for path in listed(top) if path.suffix == ".png")
