"""Review of a file of `siglum label-issues -o`: in the set of signs that it is about, or in a new
set of the suspects, whose decisions are written to a second file.
"""

import csv
from collections.abc import Mapping
from hashlib import blake2b
from itertools import dropwhile
from pathlib import Path
from typing import Any

from siglum.errors import DataError
from siglum.files import to_csv, write_atomic
from siglum.formatting import count
from siglum.images import decode, sources, studio_set
from siglum.images.cache import Listing, Progress, no_progress
from siglum.images.studio_set import Entry, State
from siglum.recogniser.predict import Recogniser
from siglum.studio import snapshot, store
from siglum.studio.snapshot import Studio

COLUMNS = ("file", "old", "new", "suggestion", "probability")


def open_review(
    path: Path, backbone: Recogniser, see: Progress = no_progress
) -> tuple[Studio, list[str]]:
    """Open the set of the suspects, and mark them; return messages, too."""
    source, rows = _read(path)
    suspects = [row for row in rows if row["suggestion"]]
    kind, _, folder = sources.locate(source, path.parent)
    if kind == "studio":
        ids = [Path(row["file"]).stem for row in suspects]
        studio = Studio(folder, backbone, see)
    else:
        ids, folder = [*map(_id, suspects)], path.with_suffix("")
        if folder.exists() and not studio_set.is_set(folder):
            raise DataError(f"{folder} exists already. Rename it, or {path}.")
        listing = sources.SOURCES["manifest"].read(path, str(path), see)
        assert isinstance(listing, Listing)
        studio = Studio(folder, backbone, see)
        saved, new = studio.store.drawings_of(None), []
        for id, row in zip(ids, suspects, strict=True):
            if id not in saved:
                image = decode.to_png(snapshot.to_pixels(listing.read(row["file"])))
                entry = Entry(row["new"], "", "train", store.timestamp(), True)
                new.append(store.NewDrawing(entry, None, image, id))
        names = [row[column] for column in ("new", "suggestion") for row in rows if row[column]]
        studio.store.add_classes(names, drawings=new)
        studio.update(see)
    classes = {name: id for id, name in studio.store.state.classes.items()}
    issues = {
        id: (classes.get(row["new"]), classes.get(row["suggestion"]), row["probability"])
        for id, row in zip(ids, suspects, strict=True)
    }
    studio.announce(issues)
    return studio, [f"{count(len(issues), 'suspect')}: see Review."]


def write_corrected(path: Path, state: State) -> str:
    """Write the labels of `path` as they are after the review; return how to train with them."""
    source, rows = _read(path)
    if sources.locate(source, path.parent)[0] == "studio":
        return f"Train with the corrected labels: siglum train {source}"
    labels = {id: state.classes[entry.label] for id, entry in state.drawings.items()}
    corrected = [row | {"new": labels.get(_id(row), row["new"])} for row in rows]
    changed = sum(one["new"] != row["new"] for one, row in zip(corrected, rows, strict=True))
    remaining = [row for row in corrected if not row["suggestion"] or _id(row) in labels]
    out = path.with_name(f"{path.stem}-corrected.csv")
    table = to_csv([COLUMNS, *(row.values() for row in remaining)])
    write_atomic(out, f"# source: {source}\n{table}")
    changes = f"{count(changed, 'label')} corrected, {len(rows) - len(remaining):,} left out"
    return f"{out}: {changes}. Train with: siglum train {out}"


def _id(row: Mapping[str, str]) -> str:
    """Return the id of the drawing of an image, which is the same whenever it is imported."""
    return blake2b(row["file"].encode(), digest_size=8).hexdigest()


def _read(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """Return the source of the images and a row for each, with class names as the Studio's."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
        source = next(line[10:].strip() for line in lines if line.startswith("# source: "))
        table = csv.DictReader(dropwhile(lambda line: line.startswith("#"), lines))
        rows: list[dict[str, Any]] = [{name: row[name] for name in COLUMNS} for row in table]
        for row in rows:
            row["new"], row["probability"] = store.class_name(row["new"]), float(row["probability"])
        return source, rows
    except (OSError, ValueError, LookupError, TypeError, StopIteration, csv.Error) as error:
        raise DataError(f"{path} is no file of 'siglum label-issues -o': {error!r}.") from None
