"""`siglum info`."""

import hashlib
from pathlib import Path

from siglum.cli.options import Json
from siglum.cli.output import print_facts, print_json
from siglum.formatting import count, rate_and_interval
from siglum.recogniser.bundle import FORMAT, Bundle
from siglum.recogniser.calibration import describe
from siglum.recogniser.predict import load

MAX_CLASSES = 40


def info(bundle: Path, /, *, json: Json = False) -> None:
    """Describe a bundle, after checking all of it and verifying its reference outputs.

    Example: siglum info digits.siglum

    Args:
        bundle: A file whose name ends in .siglum.
    """
    bundle = bundle.expanduser()
    opened = load(bundle).bundle
    if json:
        raw = bundle.read_bytes()
        print_json(
            {
                "file": str(bundle),
                "bytes": len(raw),
                "sha256": hashlib.sha256(raw).hexdigest(),
                "card": opened.card.model_dump(),
                "classes": opened.classes,
                "preprocess": opened.preprocess.model_dump(),
                "calibration": opened.calibration.model_dump(),
                "reference_outputs": len(opened.reference.images),
                "samples": len(opened.samples.labels) if opened.samples else 0,
            }
        )
    else:
        show(bundle, opened)


def show(path: Path, bundle: Bundle) -> None:
    """Print what a bundle is."""
    raw = path.read_bytes()
    card, preprocess, calibration = bundle.card, bundle.preprocess, bundle.calibration
    more = " ..." if len(bundle.classes) > MAX_CLASSES else ""
    colour = "grey" if preprocess.channels == 1 else "colour"
    facts = {
        "bundle": f"{path}, {len(raw):,} bytes, format {FORMAT}",
        "title": card.title,
        "network": f"{card.network}, {card.parameters:,} parameters",
        "classes": f"{len(bundle.classes):,}: {' '.join(bundle.classes[:MAX_CLASSES])}{more}",
        "input": f"{preprocess.size} x {preprocess.size}, {colour}, {preprocess.resize}",
    }
    facts |= {part: rate_and_interval(measured) for part, measured in card.measured.items()}
    measured = f"measured on {count(calibration.num_samples, 'image')}"
    facts["temperature"] = (
        f"{calibration.temperature:.3g}, {measured if calibration.num_samples else 'not measured'}"
    )
    if sentences := describe(calibration):
        facts["calibration"] = " ".join(sentences)
    difference = "" if card.difference is None else f"; PyTorch differs by {card.difference:.1e}"
    facts["verified on"] = f"{count(len(bundle.reference.images), 'image')} of {card.reference}"
    facts["verified on"] += difference
    if bundle.samples is not None:
        facts["samples"] = f"{len(bundle.samples.labels):,}, stored in the bundle"
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    facts |= {
        "command": card.command or "unknown",
        "versions": versions,
        "licence": card.licence or "unknown",
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    print_facts(facts)
