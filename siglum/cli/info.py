"""`siglum info`."""

import hashlib
from pathlib import Path

from siglum.cli import options, output
from siglum.formatting import count, rate_and_interval, shorten
from siglum.recogniser.bundle import FORMAT
from siglum.recogniser.calibration import describe
from siglum.recogniser.predict import load

MAX_WIDTH = 80  # of the list of classes


def info(bundle: Path, /, *, json: options.Json = False) -> None:
    """Describe a bundle, after checking all of it and verifying its reference outputs.

    Example: siglum info digits.siglum

    Args:
        bundle: A file whose name ends in .siglum.
    """
    path = bundle.expanduser()
    opened, raw = load(path).bundle, path.read_bytes()
    card, calibration, preprocess = opened.card, opened.calibration, opened.preprocess
    digest = hashlib.sha256(raw).hexdigest()
    num_references = len(opened.reference.images)
    num_samples = len(opened.samples.labels) if opened.samples else 0
    if json:
        output.print_json(
            {
                "file": str(path),
                "bytes": len(raw),
                "sha256": digest,
                "card": card.model_dump(),
                "classes": opened.classes,
                "preprocess": preprocess.model_dump(),
                "calibration": calibration.model_dump(),
                "reference_outputs": num_references,
                "samples": num_samples,
            }
        )
        return
    colour = "grey" if preprocess.channels == 1 else "colour"
    differs = "" if card.difference is None else f"; PyTorch differs by {card.difference:.1e}"
    output.print_facts(
        {
            "bundle": f"{path}, {len(raw):,} bytes, format {FORMAT}",
            "title": card.title,
            "network": f"{card.network}, {card.parameters:,} parameters",
            "classes": f"{len(opened.classes):,}: {shorten(' '.join(opened.classes), MAX_WIDTH)}",
            "input": f"{preprocess.size} x {preprocess.size}, {colour}, {preprocess.resize}",
            **{part: rate_and_interval(rate) for part, rate in card.measured.items()},
            "calibration": " ".join(describe(calibration)) or None,
            "verified on": f"{count(num_references, 'image')} of {card.reference}{differs}",
            "samples": f"{num_samples:,}, stored in the bundle" if num_samples else None,
            "command": card.command or "unknown",
            "versions": ", ".join(f"{name} {number}" for name, number in card.versions.items()),
            "licence": card.licence or "unknown",
            "sha256": digest,
        }
    )
