"""`siglum predict`."""

from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from siglum.cli import options, output
from siglum.errors import ConfigError, DataError
from siglum.files import atomic_path
from siglum.formatting import probability
from siglum.images import decode
from siglum.images.contact_sheet import boxed
from siglum.images.folder import expand_files
from siglum.images.page import WORKING, read_page
from siglum.recogniser.bundle import SUFFIX
from siglum.recogniser.predict import Input, Prediction, Recogniser, load


def predict(
    recogniser: Path,
    /,
    *files: Path,
    page: Path | None = None,
    out: options.Png = None,
    checkpoint: str | None = None,
    device: options.Device = "auto",
    json: options.Json = False,
    csv: options.Csv = False,
) -> None:
    """Predict the class of images: label, probability, runner-up, and what may spoil it.

    An image shows one character; for a page of several use --page.

    Example: siglum predict digits.siglum photo.png
    Example: siglum predict runs/first scans/
    Example: siglum predict greek.siglum --page page.jpg -o boxes.png

    Args:
        recogniser: A bundle, which needs no PyTorch, or the folder of a run.
        files: Image files, folders of them, or patterns such as 'scans/*.png'.
        page: An image of a page with several characters, read row by row.
        out: With --page: where to draw the boxes and labels, a PNG file.
        checkpoint: With a run: best, last or lowest_loss; by default the run's own choice.
    """
    if page is not None:
        if files or csv:
            raise ConfigError("page must be used alone, without other files and without --csv.")
        _predict_page(_open(recogniser, checkpoint, device), page, out, json)
        return
    if out is not None:
        raise ConfigError("out must be used with --page.")
    if not files:
        raise DataError("No image given. Name an image file, a folder of images, or use --page.")
    paths = expand_files(files)
    unreadable: list[tuple[str, str]] = []
    predictions = _open(recogniser, checkpoint, device).predict_images(paths, unreadable)
    records = [prediction.to_dict() for prediction in predictions]
    if json:
        output.print_json(records)
    elif csv:
        output.print_csv(records)
    elif predictions:
        columns = ("file", "prediction", "probability", "runner-up", "note")
        output.print_table(columns, map(_row, predictions))
        for one in predictions:
            for warning in one.warnings:
                output.print_line(f"{one.file}: {warning}")
    output.raise_for_unreadable(unreadable, len(paths))


def _row(one: Prediction) -> tuple[str, ...]:
    first, *others = [f"{label} {probability(share)}" for label, share in one.ranking[:2]]
    file, note = one.file or "", "inverted" if one.inverted else ""
    if one.rejected:
        return file, "none of these", "", first, note
    return file, one.label, probability(one.probability), "".join(others), note


def _predict_page(recogniser: Recogniser, path: Path, out: Path | None, json: bool) -> None:
    preprocess = recogniser.preprocess
    if not preprocess.cuts_out or preprocess.position_channels:
        raise ConfigError(
            "page needs a recogniser that extracts ink, without position channels. "
            "Teach one, or train with --resize glyph."
        )
    try:
        image = decode.read(path, max_side=2 * WORKING)
    except DataError as error:
        raise DataError(f"Cannot read {path}: {str(error).rstrip('.')}.") from None
    page = read_page(image, preprocess)
    places = [
        (row, column, character)
        for row, characters in enumerate(page.rows)
        for column, character in enumerate(characters)
    ]
    if not places:
        raise DataError(f"No ink found in {path}. Use a darker pen, or even light.")
    inputs = [Input(one.ink[None], page.inverted, None, str(path)) for *_, one in places]
    predictions = recogniser.predict_inputs(inputs)
    records = [
        {"row": row, "column": column, "box": character.box, **prediction.to_dict()}
        for (row, column, character), prediction in zip(places, predictions, strict=True)
    ]
    if out is not None:
        boxes = [(record["box"], _label(record)) for record in records]
        with atomic_path(out) as temporary:
            boxed(image, boxes).save(temporary, "PNG")
    if json:
        output.print_json({"file": str(path), "sideways": page.sideways, "characters": records})
        return
    for _, row in groupby(records, key=itemgetter("row")):
        cells = [f"{_label(record)} {probability(record['probability'])}" for record in row]
        output.print_line("   ".join(cells))
    if page.sideways:
        print("Most characters are wider than high: the page may lie on its side.")
    if out is not None:
        output.print_line(f"Boxes: {out}")


def _label(record: dict[str, Any]) -> str:
    return "?" if record["rejected"] else str(record["label"])


def _open(path: Path, checkpoint: str | None, device: str) -> Recogniser:
    path = path.expanduser()
    if path.suffix == SUFFIX or path.is_file():
        if checkpoint is not None or device not in ("auto", "cpu"):
            raise ConfigError("checkpoint and device are for runs. Leave them out with a bundle.")
        return load(path)
    from siglum.lab.device import choose_device  # late: a bundle needs no torch
    from siglum.lab.export import open_run
    from siglum.lab.runs import Run

    return open_run(Run(path), choose_device(device, "float32"), checkpoint)
