"""The panels of an examination: as one HTML page, or as files."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from markupsafe import Markup

from siglum.errors import ConfigError, choose
from siglum.examine import PARTS, Examination, NotApplicableError, Result
from siglum.examine.panels import PANELS
from siglum.files import write_atomic
from siglum.report.page import Section, load, render_page, render_section
from siglum.report.plots import to_csv, to_image, to_svg

FIGURES, ARRAYS = (".png", ".svg"), ".npz"


def run_panels(
    examination: Examination, names: Iterable[str]
) -> dict[str, Result | NotApplicableError]:
    """Return the results of panels, or why one does not apply.

    Raises:
        ConfigError: if there is no such panel.
    """
    results: dict[str, Result | NotApplicableError] = {}
    for name in names:
        _, panel = choose(PANELS, name, "only")
        try:
            results[name] = panel(examination)
        except NotApplicableError as error:
            results[name] = error
    return results


def write_page(
    examination: Examination, results: dict[str, Result | NotApplicableError], path: Path
) -> None:
    """Write panels as one HTML page.

    Raises:
        DataError: if it cannot be written.
    """
    sections = []
    for name, result in results.items():
        if isinstance(result, NotApplicableError):
            sections.append(Section(name, PANELS[name][0], str(result), missing=True))
            continue
        svg = to_svg(result.figure, name, result.finding) if result.figure else Markup()
        grey = examination.preprocess.channels == 1
        values = {"name": name, "result": result, "svg": svg, "grey": grey}
        sections.append(render_section("panel.html", name, PANELS[name][0], **values))
    page = render_page(
        examination.run.name, "examination of a network", sections, headline=_headline(examination)
    )
    write_atomic(path, page)


def save(result: Result, path: Path) -> None:
    """Write a panel as .png, .svg, .npz (arrays), .csv (a table) or .txt.

    Raises:
        ConfigError: if the panel cannot be written in this format.
        DataError: if the file cannot be written.
    """
    formats = save_formats(result)
    if path.suffix not in formats:
        raise ConfigError(f"out must end in {', '.join(formats)} for this panel, got {path}.")
    if path.suffix in FIGURES:
        assert result.figure is not None
        write_atomic(path, to_image(result.figure, path.suffix, result.finding))
    elif path.suffix == ARRAYS:
        file = io.BytesIO()
        np.savez_compressed(file, **result.arrays)  # type: ignore[arg-type]
        write_atomic(path, file.getvalue())
    elif result.table is not None:
        write_atomic(path, to_csv([result.table.columns, *result.table.rows]))
    else:
        write_atomic(path, result.text + "\n")


def save_formats(result: Result) -> list[str]:
    """Return the suffixes of the files that a panel can be saved as."""
    formats = [*FIGURES] if result.figure else []
    formats += [".csv"] if result.table else []
    formats += [".txt"] if result.text else []
    return formats + ([ARRAYS] if result.arrays else [])


def _headline(examination: Examination) -> Markup:
    try:
        part = "" if examination.files else PARTS[examination.chosen_part]
    except NotApplicableError:
        part = ""
    headline: Markup = load("examination.html", examination=examination, part=part).headline
    return headline
