"""`siglum teach`."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from siglum import api
from siglum.cli import options, output
from siglum.cli.progress import loading_bar
from siglum.errors import ConfigError
from siglum.formatting import count, percent, rate_and_interval
from siglum.images.cache import first_names
from siglum.images.decode import as_text
from siglum.recogniser import bundle as bundles
from siglum.recogniser.fit import Fitted, diagnose, to_bundle
from siglum.recogniser.head import describe


def teach(
    *,
    chars: str | None = None,
    samples: str | None = None,
    out: options.NewFile,
    rename: options.Renames = None,
    backbone: Path | None = None,
    title: str = "",
    json: options.Json = False,
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
    if out.suffix != bundles.SUFFIX:
        raise ConfigError(f"out must end in {bundles.SUFFIX}, got {str(out)!r}.")
    if out.exists():
        raise ConfigError(f"{out} exists already. Choose another name with -o.")
    names = options.read_renames(rename)
    with loading_bar() as progress:
        recogniser = api.teach(chars, samples, rename=names, backbone=backbone, progress=progress)
    fitted = recogniser.fitted
    assert fitted is not None
    command = as_text(shlex.join(["siglum", *sys.argv[1:]]))
    bundle = to_bundle(fitted, as_text(title), command)
    diagnostics = diagnose(fitted)
    bundles.save(bundle, out)
    if json:
        output.print_json(
            {
                "file": str(out),
                "title": bundle.card.title,
                "classes": bundle.classes,
                "samples": len(fitted.samples.labels),
                **diagnostics,
                "calibration": bundle.calibration.model_dump(),
            }
        )
        return
    output.print_line(f"{out} recognises {bundle.card.title}.")
    for line in (*_describe(fitted, diagnostics), *describe(bundle.calibration)):
        output.print_line(line)


def _describe(fitted: Fitted, diagnostics: dict[str, Any]) -> Iterator[str]:
    if not len(fitted.samples.labels):
        yield "No drawings yet: accuracy on your handwriting is unknown. Add some with --samples."
        return
    if fitted.accuracy is None:
        yield "Accuracy is unknown with one drawing per sign. Draw a second of each."
    else:
        yield f"Leave-one-out accuracy: {rate_and_interval(fitted.accuracy)}."
    for point in reversed(diagnostics["learning_curve"]):
        drawings = count(point["samples_per_class"], "drawing")
        start = f"Accuracy with {drawings} per sign" if point["samples_per_class"] else "From fonts"
        yield f"{start}: {percent(point['accuracy'])}."
    for one in diagnostics["confusions"][:5]:
        yield "  {label!r} is predicted as {predicted!r} in {count} of {total}.".format(**one)
    for one in diagnostics["suggestions"][:3]:
        yield f"Next, {one['label']!r}: {one['message'].rstrip('.')}."
    if untested := diagnostics["untested"]:
        yield f"Without drawings, not tested: {first_names(untested)}."
