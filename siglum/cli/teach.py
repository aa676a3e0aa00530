"""`siglum teach`."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from siglum.api import teach as teach_recogniser
from siglum.cli.options import Json, Renames, read_renames
from siglum.cli.output import print_json, print_line
from siglum.cli.progress import loading_bar
from siglum.errors import ConfigError
from siglum.formatting import percent, rate_and_interval
from siglum.images.decode import as_text
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import SUFFIX, Bundle
from siglum.recogniser.calibration import describe
from siglum.recogniser.fit import MAX_NAMES, Diagnostics, diagnose, to_bundle

MAX_CONFUSIONS, MAX_SUGGESTIONS = 5, 3


def teach(
    *,
    chars: str | None = None,
    samples: str | None = None,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    rename: Renames = None,
    backbone: Path | None = None,
    title: str = "",
    json: Json = False,
) -> None:
    """Teach a recogniser from names of characters, from drawings, or from both.

    Characters are known from fonts, without a drawing. Drawings improve them, and teach signs that
    no font has.

    Example: siglum teach --chars 'αβγ' -o greek.siglum

    Example: siglum teach --samples my-signs -o signs.siglum

    Example: siglum teach --chars 'αβγδ' --samples drawings.zip -o greek.siglum

    Args:
        chars: Characters, Unicode names or groups, separated by commas.
        samples: Labelled images, such as a folder with one folder per class.
        out: The bundle to write; its name ends in .siglum.
        backbone: A backbone of your own; by default the one that Siglum includes.
        title: Description of the recogniser, stored in the bundle.
    """
    out = out.expanduser()
    if out.suffix != SUFFIX:
        raise ConfigError(f"out must end in {SUFFIX}, got {str(out)!r}.")
    if out.exists():
        raise ConfigError(f"{out} exists already. Choose another name with -o.")
    with loading_bar() as progress:
        recogniser = teach_recogniser(
            chars, samples, rename=read_renames(rename), backbone=backbone, progress=progress
        )
    assert recogniser.fitted is not None
    bundle = to_bundle(
        recogniser.fitted, as_text(title), as_text(shlex.join(["siglum", *sys.argv[1:]]))
    )
    diagnostics = diagnose(recogniser.fitted)
    count = len(recogniser.fitted.training_set)
    lines = _describe(out, bundle, diagnostics, count)
    bundles.save(bundle, out)
    if json:
        print_json(
            {
                "file": str(out),
                "title": bundle.card.title,
                "classes": bundle.classes,
                "samples": count,
                **asdict(diagnostics),
                "calibration": bundle.calibration.model_dump(),
            }
        )
    else:
        for line in lines:
            print_line(line)


def _describe(out: Path, bundle: Bundle, diagnostics: Diagnostics, count: int) -> list[str]:
    lines = [f"{out} recognises {bundle.card.title}."]
    if diagnostics.accuracy is not None:
        lines.append(f"Leave-one-out accuracy: {rate_and_interval(diagnostics.accuracy)}.")
    elif count:
        lines.append("Accuracy is unknown with one drawing per sign. Draw a second of each.")
    else:
        lines.append(
            "No drawings yet: accuracy on your handwriting is unknown. Add some with --samples."
        )
    if curve := diagnostics.learning_curve:
        lines.append(
            " ".join(
                f"{_accuracy_with(point.samples_per_class)}: {percent(point.accuracy)}."
                for point in reversed(curve)
            )
        )
    lines += [
        f"  {one.label!r} is predicted as {one.predicted!r} in {one.count} of {one.total}."
        for one in diagnostics.confusions[:MAX_CONFUSIONS]
    ]
    if count:
        lines += [
            f"Next, {one.label!r}: {one.message.rstrip('.')}."
            for one in diagnostics.suggestions[:MAX_SUGGESTIONS]
        ]
        if untested := diagnostics.untested:
            more = f" and {len(untested) - MAX_NAMES} more" if len(untested) > MAX_NAMES else ""
            lines.append(f"Without drawings, not tested: {' '.join(untested[:MAX_NAMES])}{more}.")
    return lines + describe(bundle.calibration)


def _accuracy_with(samples: int) -> str:
    if not samples:
        return "From fonts alone"
    return f"Accuracy with {samples} drawing{'s' if samples > 1 else ''} per sign"
