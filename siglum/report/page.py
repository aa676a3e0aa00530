"""Templates: every value they are given is escaped unless it is Markup."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
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


def whole(
    template: str,
    title: str,
    kind: str,
    contents: Iterable[tuple[str, str]],
    styles: Sequence[str] = (),
    **values: Any,
) -> Markup:
    """Fill in a template that extends base.html: a page that needs no other file.

    Args:
        title: what the page is about.
        kind: what it is, behind the title in the browser's tab.
        contents: anchor and name of every section, in order.
        styles: files of the templates folder that follow page.css.
    """
    script = text("page.js")
    return render(
        template,
        title=title,
        kind=kind,
        contents=list(contents),
        style=Markup("".join(map(text, ("page.css", *styles)))),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )


def text(file: str) -> str:
    """Return a file of the templates folder as it is."""
    assert TEMPLATES.loader is not None
    return TEMPLATES.loader.get_source(TEMPLATES, file)[0]
