"""Write HTML pages: one Jinja environment, one base template, one page made of sections."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from siglum import formatting
from siglum.stats import Rate

TEMPLATES = Path(__file__).parent / "templates"
EMPTY = Markup()


@dataclass(frozen=True)
class Table:
    """A table of a page. A `Rate` is shown with its interval and a bar, None as a dash."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    texts: int = 1  # leading columns of text; the others are numbers, aligned to the right
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page: one sentence with its finding, then the evidence."""

    anchor: str
    title: str
    finding: str | Markup
    html: Markup = EMPTY
    missing: bool = False  # the finding says why there is nothing to show


def render_page(
    title: str,
    kind: str,
    sections: Sequence[Section],
    *,
    headline: str | Markup,
    rate: Rate | None = None,
    summary: Iterable[str | Markup] = (),
    notices: Iterable[str | Markup] = (),
) -> bytes:
    """Return a self-contained page: no script but its own, no request, light, dark and print.

    Args:
        title: Name of the run, comparison or set.
        kind: What the page is, such as "report of a run".
        headline: The finding of the whole page, in one sentence.
        rate: The rate that the headline gives, drawn as a bar from 0 to 100 %.
        summary: Paragraphs below the headline: what was done, on what, how certain it is.
        notices: What is missing or damaged; shown with a mark.
    """
    script = (TEMPLATES / "page.js").read_text()
    page = ENVIRONMENT.get_template("page.html").render(
        title=title,
        kind=kind,
        sections=sections,
        headline=headline,
        rate=rate,
        summary=summary,
        notices=notices,
        style=Markup((TEMPLATES / "page.css").read_text()),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return page.encode("utf-8", "backslashreplace")  # file names may hold lone surrogates


def load(template: str, **values: Any) -> Any:
    """Return a template as a module, which has the variables that it sets as attributes."""
    return ENVIRONMENT.get_template(template).make_module(values)


def render_section(template: str, anchor: str, title: str, **values: Any) -> Section:
    """Fill in the template of a section, which also sets the section's finding."""
    module = load(template, **values)
    return Section(anchor, title, module.finding, Markup(module))


def render_table(table: Table) -> Markup:
    """Return a table as HTML."""
    return Markup(load("macros.html").table(table))


def render_figure(plot: Any) -> Markup:
    """Return a plot as HTML, with its finding above and its caption below."""
    return Markup(load("macros.html").figure(plot))


def no_break(text: str) -> str:
    """Keep numbers and their units on one line."""
    return re.sub(
        r"(?<=\d) (?=%|(?:m?s|min|h|px|MB)\b|[A-Z][a-z]+ \d{4})", "\N{NO-BREAK SPACE}", text
    )


def cell_text(value: object) -> object:
    """Return a value of a table as text: 1234 as "1,234", None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return formatting.number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return no_break(str(value))


def _sentence(text: str) -> Markup:
    return Markup(no_break(re.sub(r"[ \n]+", " ", text.strip())))


def _unbroken(function: Callable[..., str]) -> Callable[..., str]:
    return lambda *args, **kwargs: no_break(function(*args, **kwargs))


ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
ENVIRONMENT.tests["rate"] = lambda value: isinstance(value, Rate)
ENVIRONMENT.filters |= {
    name: _unbroken(getattr(formatting, name))
    for name in (
        *("count", "date", "duration", "interval", "number", "percent", "probability", "rate"),
        *("rate_and_interval", "shorten", "source_name"),
    )
}
ENVIRONMENT.filters |= {"cell": cell_text, "sentence": _sentence}
ENVIRONMENT.filters["percent_digits"] = formatting.percent_digits
