"""A run as one self-contained HTML page, which opens offline and prints on A4."""

from collections.abc import Callable
from pathlib import Path

from siglum.lab.runs import Run
from siglum.report import files
from siglum.report.certainty import certainty
from siglum.report.classes import classes
from siglum.report.confusion import confusion
from siglum.report.facts import Facts, gather
from siglum.report.headline import account, headline
from siglum.report.learning import learning
from siglum.report.mistakes import mistakes
from siglum.report.page import whole
from siglum.report.repeat import repeat
from siglum.report.samples import samples
from siglum.report.section import Section
from siglum.report.settings import settings

__all__ = ["SECTIONS", "write"]

# By their anchors, in the order of the page. A section returns None where nothing was measured.
SECTIONS: dict[str, Callable[[Facts], Section | None]] = {
    "pictures": samples,
    "learning": learning,
    "confusion": confusion,
    "classes": classes,
    "mistakes": mistakes,
    "certainty": certainty,
    "settings": settings,
    "repeat": repeat,
}


def write(run: Run, path: Path) -> Path:
    """Write the page of a finished run to `path`, in one step, and return `path`.

    The pictures are loaded from where the run found them. If they are gone or have changed, the
    page says so and does without.

    Raises:
        RunError: if the run is not finished or is damaged, or `path` cannot be written.
    """
    raw = _page(gather(run)).encode("utf-8", "backslashreplace")  # file names may be no text
    return files.replace(path, raw)


def _page(facts: Facts) -> str:
    made = {anchor: section(facts) for anchor, section in SECTIONS.items()}
    sections = {anchor: section for anchor, section in made.items() if section is not None}
    return whole(
        "run.html",
        facts.name,
        "report",
        [(anchor, section.title) for anchor, section in sections.items()],
        facts=facts,
        headline=headline(facts),
        account=account(facts),
        sections=sections,
    )
