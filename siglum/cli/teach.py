"""`siglum teach`."""

import shlex
import sys
import unicodedata
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from siglum.cli import terminal
from siglum.cli.classes import read_names
from siglum.cli.loading import loading
from siglum.cli.terminal import Switch
from siglum.errors import ConfigError, RunError
from siglum.images import charsets
from siglum.images.decode import as_text
from siglum.images.imageset import ImageSet
from siglum.images.sources import SOURCES, load
from siglum.recogniser import backbone as backbones
from siglum.recogniser import bundle as bundles
from siglum.recogniser import lesson as lessons
from siglum.recogniser import teach as teaching
from siglum.recogniser.bundle import SUFFIX, Bundle, Calibration
from siglum.recogniser.findings import Findings, findings
from siglum.recogniser.lesson import LeftOut
from siglum.recogniser.predict import Recogniser

SHOWN, NAMED = 5, 20  # confusions, classes


def teach(
    *,
    chars: str | None = None,
    samples: str | None = None,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    rename: Path | None = None,
    backbone: Path | None = None,
    title: str = "",
    json: Switch = False,
) -> None:
    """Teach a recogniser from names of characters, from drawings, or from both.

    Of characters that are named, print is known: nothing needs to be drawn. Samples outweigh print
    as they come; signs that print does not have are taught by samples alone.

    Example: siglum teach --chars 'αβγ' -o greek.siglum

    Example: siglum teach --samples my-signs -o signs.siglum

    Example: siglum teach --chars 'αβγδ' --samples drawings.zip -o greek.siglum

    Args:
        chars: Characters, Unicode names or groups, with commas between them.
        samples: A source of labelled pictures, such as a folder with a folder a class.
        out: The bundle to write; its name ends in .siglum.
        rename: A CSV of class names in the samples and new names for them.
        backbone: A backbone of your own; by default the one that comes with Siglum.
        title: What the recogniser is, in your words; kept in it.
        json: Print JSON.
    """
    if chars is None and samples is None:
        raise ConfigError("teach must have --chars, --samples or both, got neither.")
    if out.suffix != SUFFIX or out.exists():
        found = "one that exists" if out.exists() else repr(str(out))
        raise RunError(f"out must be a new file that ends in {SUFFIX}, got {found}.")
    named = () if chars is None else charsets.resolve(chars)
    behind = backbones.shipped() if backbone is None else backbones.given(backbone)
    images = None if samples is None else _samples(samples, rename, behind)
    names = tuple(dict.fromkeys([*named, *(() if images is None else images.classes)]))
    lesson = lessons.begin(behind, names)
    if images is not None:
        lesson, left_out = lessons.of_images(behind, lesson, images)
        _warn(images, left_out)
    taught = teaching.learn(behind, lesson)
    if taught.unknown:
        raise ConfigError(
            "a class must be known by print or have a sample that shows ink, got "
            f"{_described(taught.unknown[0])}. Give samples of it with --samples."
        )
    command = shlex.join(["siglum", *sys.argv[1:]])
    made = teaching.finished(taught, as_text(title or _title(names)), as_text(command))
    bundles.save(made, out)
    said = findings(behind, lesson, taught)
    if json:
        terminal.write_json(_everything(out, said, made, len(lesson)))
    else:
        _show(out, said, made, len(lesson))


def _samples(given: str, rename: Path | None, behind: Recogniser) -> ImageSet:
    """Load samples from a source, or from what a folder, an archive or a CSV file is as a source.

    Raises:
        ConfigError: if two classes have one name once Unicode has composed it.
    """
    if given.partition(":")[0] not in SOURCES:
        kind = "folder" if Path(given).is_dir() else "archive"
        given = f"{'manifest' if given.endswith('.csv') else kind}:{given}"
    preprocess = behind.bundle.preprocess.model_copy(update={"position_channels": True})
    with loading() as progress:
        images = load(given, "train", preprocess, rename=read_names(rename), progress=progress)
    composed: dict[str, str] = {}
    for name in images.classes:
        other = composed.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise ConfigError(
                f"classes must differ, got {other!a} and {name!a}, which are one name in two "
                "normal forms. Make them one with --rename."
            )
    return images.rename({name: new for new, name in composed.items() if new != name})


def _warn(images: ImageSet, left_out: LeftOut) -> None:
    names = images.files
    for rows, rule in (
        (left_out.blank, "show no ink and are left out"),
        (left_out.repeated, "repeat another of their class to the pixel and are left out"),
        ([later for _, later in left_out.contradicting], "are equal to one of another class"),
    ):
        if rows:
            such = "" if names is None else f", such as {names[rows[0]]}"
            warnings.warn(f"{len(rows)} samples {rule}{such}", stacklevel=3)


def _described(name: str) -> str:
    return charsets.describe(name) if len(name) == 1 else repr(name)


def _title(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} signs: {' '.join(names[:NAMED])}{more}"


def _show(out: Path, said: Findings, made: Bundle, samples: int) -> None:
    """Print how well it was learned, in words."""
    say = [f"{out} knows {made.card.title}."]
    if said.right is None:
        say.append(
            "No sample can be left out, since each is the only one of its sign. How well it reads "
            "is not known yet; draw a second of each."
            if samples
            else "No samples: it goes by print. How well it reads your hand is not known; "
            "teach it a few drawings, or try it."
        )
    else:
        say.append(f"Samples, each left out: {terminal.interval(said.right)}")
    for one in said.confusions[:SHOWN]:
        say.append(f"  {one.meant!r} is read as {one.read!r} {one.times} times of {one.of}")
    if len(said.curve) > 1:
        points = [f"{point.samples}: {terminal.percent(point.right)}" for point in said.curve]
        say.append(f"By samples a class (the others read)  {'   '.join(points)}")
    say += [f"Next: {advice}" for advice in said.advice]
    if samples and said.untested:
        say.append(f"Not tested, since without samples: {' '.join(said.untested[:NAMED])}")
    say += _promises(made.calibration)
    for line in say:
        print(terminal.printable(line))


def _promises(found: Calibration) -> list[str]:
    """Say what is promised, and what is only guessed."""
    said = []
    for promise, what in (
        (found.sets, "of the sets hold the sign that was meant"),
        (found.none, "of true signs are taken for none of these, at most"),
    ):
        if promise is None:
            continue
        share = terminal.percent(promise.share, 0)
        if promise.pictures:
            said.append(f"Promised of drawings like the samples: {share} {what}.")
        else:
            said.append(f"Guessed, not promised: {share} {what}.")
    return said


def _everything(out: Path, said: Findings, made: Bundle, samples: int) -> dict[str, Any]:
    return {
        "file": str(out),
        "title": made.card.title,
        "classes": made.classes,
        "samples": samples,
        **asdict(said),
        "calibration": made.calibration.model_dump(),
    }
