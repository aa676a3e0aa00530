"""The panels of an examination: as one HTML page, or as files."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from markupsafe import Markup

from siglum.errors import ConfigError, choose
from siglum.examine import PARTS, Examination, NotApplicableError, Result
from siglum.examine.panels import PANELS
from siglum.files import write_atomic
from siglum.formatting import count, source_name
from siglum.report.page import Section, render, render_page, sentence
from siglum.report.plots import LIGHT, PAGE, save_figure, to_svg

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
        svg = to_svg(result.draw(PAGE), name, result.finding) if result.draw else Markup()
        grey = examination.preprocess.channels == 1
        html = render("panel.html", name=name, result=result, svg=svg, grey=grey)
        sections.append(Section(name, PANELS[name][0], f"{result.finding}.", html))
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
        assert result.draw is not None
        save_figure(result.draw(LIGHT), path, result.finding)
    elif path.suffix == ARRAYS:
        file = io.BytesIO()
        np.savez_compressed(file, **result.arrays)  # type: ignore[arg-type]
        write_atomic(path, file.getvalue())
    elif result.table is not None:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([result.table.columns, *result.table.rows])
        write_atomic(path, table.getvalue())
    else:
        write_atomic(path, result.text + "\n")


def save_formats(result: Result) -> list[str]:
    """Return the suffixes of the files that a panel can be saved as."""
    formats = [*FIGURES] if result.draw else []
    formats += [".csv"] if result.table else []
    formats += [".txt"] if result.text else []
    return formats + ([ARRAYS] if result.arrays else [])


def _headline(examination: Examination) -> Markup:
    model = examination.run.config.model
    if examination.files:
        return sentence(
            f"Inside {{}}, with {count(len(examination.files), 'file')} of yours", model
        )
    try:
        part = PARTS[examination.chosen_part]
    except NotApplicableError:
        return sentence("Inside {}, without its images", model)
    note = ". The run has no test images" if examination.chosen_part == "val" else ""
    source = source_name(examination.run.config.data)
    return sentence(f"Inside {{}}, with {part} images of {{}}{note}", model, source)
