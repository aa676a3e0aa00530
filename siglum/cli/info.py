"""`siglum info`."""

import hashlib
from pathlib import Path
from typing import Any

from siglum import stats
from siglum.cli import terminal
from siglum.cli.terminal import Switch
from siglum.recogniser.bundle import Bundle
from siglum.recogniser.predict import load

PARTS = {"val": "validation"}  # words for what was measured, where they are others
NAMES = 40  # classes listed at most


def info(bundle: Path, /, *, json: Switch = False) -> None:
    """Say what a bundle is, once all of it is checked and its golden pictures are read again.

    Example: siglum info digits.siglum

    Args:
        bundle: A file whose name ends in .siglum.
        json: Print everything as JSON.
    """
    opened = load(bundle).bundle
    if json:
        terminal.write_json({**_file(bundle), **_everything(opened)})
    else:
        show(bundle, opened)


def show(path: Path, bundle: Bundle) -> None:
    """Print what a bundle is."""
    card, preprocess = bundle.card, bundle.preprocess
    file = _file(path)
    names = " ".join(bundle.classes[:NAMES]) + (" ..." if len(bundle.classes) > NAMES else "")
    colour = "grey" if preprocess.channels == 1 else "colour"
    place = ", with the ink's place" if preprocess.position_channels else ""
    lines = [
        ("bundle", f"{file['file']}, {file['bytes']:,} bytes, format {card.format}"),
        ("what", f"{card.title}; {card.parameters:,} parameters"),
        ("classes", f"{len(bundle.classes)}: {names}"),
        (
            "pictures",
            f"{preprocess.size} x {preprocess.size}, {colour}, {preprocess.resize}{place}",
        ),
    ]
    lines += [
        (
            PARTS.get(part, part),
            terminal.interval(stats.Rate(share.hits, share.total, share.low, share.high)),
        )
        for part, share in card.measured.items()
    ]
    lines += [("calibration", _calibration(bundle)), ("golden", _golden(bundle))]
    if bundle.samples is not None:
        lines.append(("taught with", f"{len(bundle.samples.labels):,} samples, kept in it"))
    lines += [
        ("made by", card.command or "not said"),
        ("versions", ", ".join(f"{name} {number}" for name, number in card.versions.items())),
        ("licence", card.licence or "not said"),
        ("sha256", file["sha256"]),
    ]
    for name, said in lines:
        print(f"{terminal.printable(name):<11} {terminal.printable(said)}")


def _calibration(bundle: Bundle) -> str:
    found = bundle.calibration
    if not found.pictures and found.temperature != 1:
        return f"temperature {found.temperature:.3g}, a guess: no pictures were held out"
    if not found.pictures:
        return "none: probabilities are as the network gives them"
    return f"temperature {found.temperature:.3g}, of {found.pictures:,} pictures held out"


def _golden(bundle: Bundle) -> str:
    card = bundle.card
    made = (
        ""
        if card.difference is None
        else f"; onnxruntime and torch differ by {card.difference:.1e}"
    )
    return f"{len(bundle.golden.images)} of {card.golden}, read again as they were{made}"


def _file(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    return {"file": str(path), "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def _everything(bundle: Bundle) -> dict[str, Any]:
    return {
        "card": bundle.card.model_dump(),
        "classes": bundle.classes,
        "preprocess": bundle.preprocess.model_dump(),
        "calibration": bundle.calibration.model_dump(),
        "golden": len(bundle.golden.images),
        "samples": len(bundle.samples.labels) if bundle.samples else 0,
        "head": bundle.head is not None,
    }
