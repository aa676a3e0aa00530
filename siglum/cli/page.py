"""`siglum predict RUN --sheet PAGE`: a page of several characters, in the order of reading."""

from pathlib import Path

import numpy as np

from siglum.cli import terminal
from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError
from siglum.images import decode, page
from siglum.images.contact_sheet import boxed
from siglum.recogniser.decide import Reader

NONE = "?"  # stands for none of these


def read_page(
    file: Path,
    preprocess: Preprocess,
    classes: tuple[str, ...],
    reader: Reader,
    out: Path | None,
    json: bool,
) -> None:
    """Print the answers of a page in its rows, and draw them over the page where `out` is given.

    Raises:
        ConfigError: if the network does not read cut-out ink, or `out` is no PNG file.
        DataError: if the page cannot be read, or `out` not be written.
    """
    if not preprocess.cuts_out or preprocess.position_channels:
        raise ConfigError(
            "sheet must go with a network that reads cut-out ink wherever it stood, got one of "
            f"fit {preprocess.resize!r}{' with place' if preprocess.position_channels else ''}. "
            "Train with --resize glyph."
        )
    if out is not None and out.suffix.lower() != ".png":
        raise ConfigError(f"out must end in .png, got {str(out)!r}.")
    name = terminal.printable(str(file))
    try:
        picture = decode.read(file, max_side=2 * page.WORKING)
    except DataError as error:
        raise DataError(f"{name} must be a picture, but it {error}.") from None
    found = page.read_page(picture, preprocess)
    characters = [character for row in found.rows for character in row]
    if not characters:
        raise DataError(f"{name} must show ink on paper, got none.")
    reading = reader(np.stack([character.ink for character in characters])[:, None])
    best = reading.probs.argmax(axis=1)
    answers = [
        NONE if none else classes[label] for label, none in zip(best, reading.none, strict=True)
    ]
    sure = reading.probs.max(axis=1).tolist()
    if json:
        places = [(i, j) for i, row in enumerate(found.rows) for j in range(len(row))]
        terminal.write_json(
            {
                "file": str(file),
                "sideways": found.sideways,
                "characters": [
                    {"row": i, "column": j, "box": c.box, "answer": a, "probability": p}
                    for (i, j), c, a, p in zip(places, characters, answers, sure, strict=True)
                ],
            }
        )
    else:
        left = iter(zip(answers, sure, strict=True))
        for row in found.rows:
            said = [f"{a} {terminal.percent(p, 0)}" for _, (a, p) in zip(row, left, strict=False)]
            print(terminal.printable("   ".join(said)))
        if found.sideways:
            print("Most characters are wider than they are high: the page may lie sideways.")
    if out is not None:
        labels = [(c.box, answer) for c, answer in zip(characters, answers, strict=True)]
        terminal.save_picture(boxed(picture, labels), out, "out")
        if not json:
            print(f"Boxes: {out}")
