"""`siglum info`."""

import hashlib
from pathlib import Path

from siglum.cli import options, output
from siglum.recogniser.head import describe
from siglum.recogniser.predict import load


def info(bundle: Path, /, *, json: options.Json = False) -> None:
    """Describe a bundle, after checking all of it and verifying its reference outputs.

    Example: siglum info digits.siglum

    Args:
        bundle: A file whose name ends in .siglum.
    """
    path = bundle.expanduser()
    opened, raw = load(path).bundle, path.read_bytes()
    card, calibration = opened.card.model_dump(), opened.calibration.model_dump()
    record = {
        "bundle": str(path),
        "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "classes": opened.classes,
        "preprocess": opened.preprocess.model_dump(exclude_none=True),
        "reference_outputs": len(opened.reference.images),
        "samples": len(opened.samples.labels) if opened.samples else 0,
    }
    if json:
        output.print_json({**record, "card": card, "calibration": calibration})
        return
    sentences = " ".join(describe(opened.calibration)) or None
    measured = card.pop("measured")
    output.print_facts({**record, **card, **measured, "settings": None, "calibration": sentences})
