"""Write HTML pages: one Jinja environment, one base template, one page made of sections.

Neither PyTorch nor matplotlib is imported here, so that the Studio can use it too.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from siglum import formatting
from siglum.stats import Rate

NO_BREAK = "\N{NO-BREAK SPACE}"
MAX_SIGN = 48  # characters of a class name on a page
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
    script = read_template("page.js")
    page = render(
        "page.html",
        title=title,
        kind=kind,
        sections=sections,
        headline=headline,
        rate=rate,
        summary=summary,
        notices=notices,
        style=Markup(read_template("page.css")),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return page.encode("utf-8", "backslashreplace")  # file names may hold lone surrogates


def render(template: str, **values: Any) -> Markup:
    """Fill in a file of the templates folder; values are escaped unless they are Markup."""
    return Markup(ENVIRONMENT.get_template(template).render(values))


def render_table(table: Table) -> Markup:
    """Return a table as HTML."""
    return Markup(_macros().table(table))


def render_figure(svg: Markup, title: str = "", caption: str = "") -> Markup:
    """Return a figure as HTML, with its finding above and its caption below."""
    return Markup(_macros().figure(svg, title, caption))


def read_template(file: str) -> str:
    """Return the text of a file of the templates folder."""
    assert ENVIRONMENT.loader is not None
    return ENVIRONMENT.loader.get_source(ENVIRONMENT, file)[0]


def sentence(text: str, *names: str | Markup) -> Markup:
    """Return a sentence with names of others in place of its {}, ending in one full stop."""
    return Markup(no_break(text.removesuffix(".") + ".")).format(*map(name, names))


def no_break(text: str) -> str:
    """Keep numbers and their units on one line."""
    return re.sub(r"(?<=\d) (?=%|(?:m?s|min|h|px|MB)\b|[A-Z][a-z]+ \d{4})", NO_BREAK, text)


def name(text: str | Markup) -> Markup:
    """Return a name that somebody else chose, with its writing direction kept to itself."""
    return text if isinstance(text, Markup) else Markup("<bdi>{}</bdi>").format(text)


def sign(text: str) -> Markup:
    """Return the name of a class; long names break after slashes or lose their middle."""
    short = formatting.shorten(text, MAX_SIGN)
    breakable = escape(short).replace("/", Markup("/<wbr>"))
    title = Markup(' title="{}"').format(text) if short != text else Markup()
    return Markup('<bdi class="sign"{}>{}</bdi>').format(title, breakable)


def span(value: Rate, digits: int | None = None) -> str:
    """Return the interval of a rate for a narrow column: "97.2–98.9"."""
    digits = formatting.percent_digits(value.total) if digits is None else digits
    return f"{100 * value.low:.{digits}f}–{100 * value.high:.{digits}f}"


def cell_text(value: object) -> object:
    """Return a value of a table as text: 1234 as "1,234", None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool | Markup):
        return value
    if isinstance(value, float):
        return formatting.number(value)
    return f"{value:,}" if isinstance(value, int) else no_break(str(value))


def _macros() -> Any:
    return ENVIRONMENT.get_template("macros.html").module


def _unbroken(function: Callable[..., str]) -> Callable[..., str]:
    return lambda *args, **kwargs: no_break(function(*args, **kwargs))


ENVIRONMENT = Environment(
    loader=PackageLoader("siglum.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
ENVIRONMENT.tests["rate"] = lambda value: isinstance(value, Rate)
ENVIRONMENT.filters |= {
    name: _unbroken(getattr(formatting, name))
    for name in ("count", "duration", "number", "percent", "probability", "rate")
}
ENVIRONMENT.filters |= {"cell": cell_text, "name": name, "sign": sign, "span": span}
ENVIRONMENT.filters["percent_digits"] = formatting.percent_digits
