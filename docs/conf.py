"""The documentation site, built by `make docs` into docs/_build.

Its pages are the Markdown of this folder. Links to Markdown elsewhere in the repository lead to the
pages of docs/project, which show those files.
"""

import contextlib
import io
import os
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from siglum import __version__, cli

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SOURCES = {  # page: the file of the repository that it shows
    HERE / "project" / "changelog.md": ROOT / "CHANGELOG.md",
    HERE / "project" / "contributing.md": ROOT / "CONTRIBUTING.md",
    HERE / "project" / "benchmarks.md": ROOT / "benchmarks" / "README.md",
    HERE / "project" / "studies.md": ROOT / "studies" / "README.md",
}
PAGES = {source: page for page, source in SOURCES.items()} | {ROOT / "README.md": HERE / "index.md"}

project = "Siglum"
author = copyright = "The Siglum authors"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
highlight_language = "text"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "Siglum"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {
        "color-background-primary": "#fbfaf7",
        "color-background-secondary": "#f4f2ec",
        "color-background-border": "#e4e0d8",
        "color-foreground-primary": "#1c1b19",
        "color-foreground-secondary": "#5d5950",
        "color-foreground-muted": "#6b675f",
        "color-brand-primary": "#b3402a",
        "color-brand-content": "#b3402a",
        "color-brand-visited": "#b3402a",
        "color-sidebar-link-text--top-level": "#1c1b19",
        "color-sidebar-background-border": "#e4e0d8",
        "color-code-background": "#f4f2ec",
        "color-inline-code-background": "#f4f2ec",
        "color-api-name": "#1c1b19",
        "color-api-pre-name": "#6b675f",
        "color-highlight-on-target": "#f7ead9",
    },
    "dark_css_variables": {
        "color-background-primary": "#14161a",
        "color-background-secondary": "#1c1f25",
        "color-background-border": "#2d3138",
        "color-foreground-primary": "#ece9e2",
        "color-foreground-secondary": "#b9b4a9",
        "color-foreground-muted": "#9a968c",
        "color-brand-primary": "#e2725b",
        "color-brand-content": "#e2725b",
        "color-brand-visited": "#e2725b",
        "color-sidebar-link-text--top-level": "#ece9e2",
        "color-sidebar-background-border": "#2d3138",
        "color-code-background": "#1c1f25",
        "color-inline-code-background": "#1c1f25",
        "color-api-name": "#ece9e2",
        "color-api-pre-name": "#9a968c",
        "color-highlight-on-target": "#3a2a20",
    },
}


def relink(text: str, source: Path, page: Path) -> str:
    """Rewrite the relative links of Markdown that stands in `source` and is shown on `page`."""

    def replace(link: re.Match[str]) -> str:
        target = (source.parent / link[1]).resolve()
        return f"]({os.path.relpath(PAGES.get(target, target), page.parent)}"

    return re.sub(r"\]\((?!\w+:)([^)#\s]+)", replace, text)


def read_page(app: Sphinx, name: str, content: list[str]) -> None:
    """Read the Markdown of a page, or of the file that it stands for."""
    page = HERE / f"{name}.md"
    source = SOURCES.get(page, page)
    app.env.note_dependency(source)
    content[0] = relink(source.read_text("utf-8"), source, page)


def mark_code(
    app: Sphinx, kind: str, name: str, what: object, options: object, lines: list[str]
) -> None:
    """Show `name` in docstrings as code: reStructuredText has two backticks for it."""
    lines[:] = [re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line) for line in lines]


def write_demo(app: Sphinx, error: Exception | None) -> None:
    """Write the page of a recogniser that the landing page opens."""
    if error is None and app.builder.format == "html":
        with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            bundle, page = Path(folder, "greek.siglum"), Path(folder, "greek.html")
            assert cli.run(["teach", "--chars", "α-ω", "-o", str(bundle)]) == 0
            assert cli.run(["export", str(bundle), "-o", str(page)]) == 0
            shutil.copy(page, Path(app.outdir, "try.html"))


def setup(app: Sphinx) -> None:
    """Read pages and docstrings as above, and show CSV as it is."""
    app.connect("source-read", read_page)
    app.connect("autodoc-process-docstring", mark_code)
    app.connect("build-finished", write_demo)
    app.add_lexer("csv", TextLexer)
