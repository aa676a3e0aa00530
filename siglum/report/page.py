"""Templates: every value they are given is escaped unless it is Markup."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from siglum.report import words

TEMPLATES = Environment(
    loader=PackageLoader("siglum.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.globals["words"] = words


def render(template: str, **values: Any) -> Markup:
    """Fill in a file of the templates folder."""
    return Markup(TEMPLATES.get_template(template).render(values))


def text(file: str) -> str:
    """Return a file of the templates folder as it is."""
    assert TEMPLATES.loader is not None
    return TEMPLATES.loader.get_source(TEMPLATES, file)[0]
