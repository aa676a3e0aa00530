"""Write HTML pages: one Jinja environment, one base template, one page made of sections."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from siglum import formatting

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Table:
    """A table of a page; None is shown as a dash."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    texts: int = 1  # leading columns of text; the others are numbers, aligned to the right


def render_page(
    title: str, kind: str, sections: Mapping[str, Any], template: str = "page.html", **values: Any
) -> bytes:
    """Return a self-contained page: no script but its own, no request, light, dark and print.

    Args:
        sections: by anchor, templates from `load` that set their title and finding.
        template: page.html, or one that extends it.
        values: the headline, its `rate`, which is drawn as a bar, paragraphs of a `summary`, and
            `notices` of what is missing or damaged; all but the headline are optional.
    """
    script = (TEMPLATES / "page.js").read_text()
    page = ENVIRONMENT.get_template(template).render(
        title=title,
        kind=kind,
        sections=sections,
        style=Markup((TEMPLATES / "page.css").read_text()),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )
    return page.encode("utf-8", "backslashreplace")  # file names may hold lone surrogates


def load(template: str, **values: Any) -> Any:
    """Return a template as a module, which has the variables that it sets as attributes."""
    return ENVIRONMENT.get_template(template).make_module(values)


def cell_text(value: object) -> str:
    """Return a value of a table as text: 1234 as "1,234", None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return formatting.number(value)
    return f"{value:,}" if type(value) is int else str(value)


def _no_break(value: object) -> object:
    """Keep numbers, units and sizes on one line, except in what is markup already."""
    unit = r"(?<=\d) (?=%|×|(?:m?s|min|h|px|MB)\b|[A-Z][a-z]+ \d{4})|(?<=×|e) (?=\d)"
    return re.sub(unit, "\N{NO-BREAK SPACE}", value) if type(value) is str else value


ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    finalize=_no_break,
)
ENVIRONMENT.filters |= {name: value for name, value in vars(formatting).items() if callable(value)}
ENVIRONMENT.filters["cell"] = cell_text
