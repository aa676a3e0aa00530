"""`siglum predict`."""

from pathlib import Path

from siglum.cli.options import Csv, Device, Json, Out
from siglum.cli.output import (
    print_csv,
    print_json,
    print_line,
    print_table,
    raise_for_unreadable,
    save_image,
)
from siglum.errors import ConfigError, DataError
from siglum.formatting import probability
from siglum.images import decode
from siglum.images.contact_sheet import boxed
from siglum.images.folder import expand_files
from siglum.images.page import WORKING, read_page
from siglum.recogniser.bundle import SUFFIX
from siglum.recogniser.predict import UNKNOWN, Input, Prediction, Predictor, load, predict_inputs
from siglum.recogniser.predict import predict as predict_images

REJECTED = "?"  # label of a rejected character of a page
MAX_OTHERS = 4  # further classes of the prediction set in a row


def predict(
    recogniser: Path,
    /,
    *files: Path,
    page: Path | None = None,
    out: Out = None,
    checkpoint: str | None = None,
    device: Device = "auto",
    json: Json = False,
    csv: Csv = False,
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
    predictions, unreadable = predict_images(_open(recogniser, checkpoint, device), paths)
    rows = [prediction.to_dict() for prediction in predictions]
    if json:
        print_json(rows)
    elif csv:
        print_csv(list(rows[0]) if rows else [], [list(row.values()) for row in rows])
    elif predictions:
        columns = ("file", "prediction", "probability", "runner-up", "note")
        print_table(columns, map(_row, predictions))
        for one in predictions:
            for warning in one.warnings:
                print_line(f"{one.file}: {warning}")
    raise_for_unreadable(unreadable, len(paths))


def _row(one: Prediction) -> tuple[str, ...]:
    file, note = one.file or "", "inverted" if one.inverted else ""
    labels = [f"{ranked.label} {probability(ranked.probability)}" for ranked in one.ranking[:2]]
    if one.rejected:
        return file, "none of these", "", labels[0], note
    two = [ranked.label for ranked in one.ranking[:2]]
    others = [label for label in one.prediction_set if label not in two][:MAX_OTHERS]
    return file, one.label, probability(one.probability), " ".join([*labels[1:], *others]), note


def _predict_page(predictor: Predictor, path: Path, out: Path | None, json: bool) -> None:
    preprocess = predictor.preprocess
    if not preprocess.cuts_out or preprocess.position_channels:
        raise ConfigError(
            "page needs a recogniser that extracts ink, without position channels. "
            "Teach one, or train with --resize glyph."
        )
    if out is not None and out.suffix.lower() != ".png":
        raise ConfigError(f"out must end in .png, got {str(out)!r}.")
    try:
        image = decode.read(path, max_side=2 * WORKING)
    except DataError as error:
        raise DataError(f"Cannot read {path}: {str(error).rstrip('.')}.") from None
    page = read_page(image, preprocess)
    characters = [one for row in page.rows for one in row]
    if not characters:
        raise DataError(f"No ink found in {path}. Use a darker pen, or even light.")
    inputs = [Input(one.ink[None], UNKNOWN, page.inverted, None, str(path)) for one in characters]
    predictions = iter(predict_inputs(predictor, inputs))
    rows = [[(one, next(predictions)) for one in row] for row in page.rows]
    if json:
        listed = [
            {
                "row": row,
                "column": column,
                "box": one.box,
                "label": prediction.label,
                "probability": prediction.probability,
                "rejected": prediction.rejected,
            }
            for row, pairs in enumerate(rows)
            for column, (one, prediction) in enumerate(pairs)
        ]
        print_json({"file": str(path), "sideways": page.sideways, "characters": listed})
    else:
        for pairs in rows:
            print_line("   ".join(f"{_label(p)} {probability(p.probability)}" for _, p in pairs))
        if page.sideways:
            print("Most characters are wider than high: the page may lie on its side.")
    if out is not None:
        boxes = [(one.box, _label(prediction)) for row in rows for one, prediction in row]
        save_image(boxed(image, boxes), out)
        if not json:
            print_line(f"Boxes: {out}")


def _label(prediction: Prediction) -> str:
    return REJECTED if prediction.rejected else prediction.label


def _open(path: Path, checkpoint: str | None, device: str) -> Predictor:
    path = path.expanduser()
    if path.suffix == SUFFIX or path.is_file():
        if checkpoint is not None:
            raise ConfigError(f"checkpoint must be left out with a bundle, got {checkpoint!r}.")
        if device not in ("auto", "cpu"):
            raise ConfigError(f"device must be auto or cpu with a bundle, got {device!r}.")
        return load(path)
    from siglum.lab.device import choose_device  # late: a bundle needs no torch
    from siglum.lab.export import RunPredictor
    from siglum.lab.runs import Run

    return RunPredictor(Run(path), choose_device(device, "float32"), checkpoint)
