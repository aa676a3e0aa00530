"""The hand-in: runs as one document with numbered figures and tables, and the student's words.

It consists of sections of the report, the comparison and the examination; Chromium prints it.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markupsafe import Markup

from siglum.errors import ConfigError, SiglumError
from siglum.examine import Examination
from siglum.examine.panels import PANELS, run_panel
from siglum.files import read_json, reading, write_atomic
from siglum.formatting import source_name
from siglum.images import decode
from siglum.lab import transfer
from siglum.lab.compare import compare_runs, group_runs
from siglum.lab.device import choose_device
from siglum.lab.run_folder import Run
from siglum.report import compare, page, sections

# Of a run, in this order: panels of an examination, and sections of the report.
PARTS = ["first", "diagram", "layers", "settings", "learning", "confusion", "mistakes"]
PARTS += ["answers", "responses", "attention"]
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
# The browser loads nothing but the page and looks up no name.
FLAGS = ["--headless", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer"]
FLAGS += ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]
PRINT_SECONDS = 120
H1 = ("heading_open", "h1", 0)  # type, tag and level of a Markdown token


def render_hand_in(runs: Sequence[Run], title: str, text: Path | None = None, **more: Any) -> bytes:
    """Return the document about finished runs as a page.

    Args:
        text: the student's words, see `read_words`; without it there is room to write them.
        more: author, today's date, and the paper as CSS names it.
    """
    words = read_words(text) if text else {}
    names, places = [run.path.resolve().name for run in runs], ["Introduction", "Conclusion"]
    paths = [str(run.path) for run in runs]
    names = names if len({*names}) == len(names) else paths
    groups, steps = dict[tuple[str, ...], dict[str, Run]](), dict[tuple[str, str, str], None]()
    records, comparisons, notices = list[dict[str, Any]](), list[dict[str, Any]](), list[str]()
    for name, run in zip(names, runs, strict=True):
        records.append(_describe(run, name, f"run-{len(records)}-"))
        groups.setdefault(run.classes, {})[name] = run
        chain, missing = sections.training_chain(run.path, str(run.path))
        steps |= dict.fromkeys(chain)
        notices += [*records[-1]["facts"].notices, *filter(None, [missing])]
    for group in groups.values():
        try:
            prefix = f"compared-{len(comparisons)}-"
            comparisons += [_compare(group, prefix)] if len(group) > 1 else []
        except SiglumError as error:
            notices.append(f"{', '.join(group)}: {error}")
    options = {"--title": title, "--author": more.get("author"), "--text": text}
    given = [f"{name}={value}" for name, value in options.items() if value]
    command = shlex.join(["siglum", "report", *paths, "--hand-in", *given])
    methods = ["torch", "wilson", "holm" if comparisons else "", *(r["methods"] for r in records)]
    more |= {"runs": records, "comparisons": comparisons, "methods": " ".join(methods)}
    more |= {"words": words, "places": places, "labels": [], "blank": text is None}
    more |= {"notices": notices, "commands": [*steps, (command, "", "")]}
    more |= {"sources": read_json(page.TEMPLATES / "sources.json")}
    document = page.render_page(title, "hand-in", {}, "hand_in.html", **more)
    if words:
        problem = f"A heading (#) of text must be a place, got {next(iter(words))!r}."
        remedy = f"Places: {', '.join(dict.fromkeys(places))}. Use ## for headings within a text."
        raise ConfigError(f"{problem} {remedy}")
    return document


def _describe(run: Run, name: str, prefix: str) -> dict[str, Any]:
    """Return what the template shows of a run; `prefix` makes plots' names unique on the page."""
    facts = sections.Facts(run)
    config, values = facts.config, sections.template_values(facts)
    values |= {"hand_in": True, "prefix": prefix, "grey": facts.preprocess.channels == 1}
    values["plots"] = {k: replace(v, name=prefix + k) for k, v in values["plots"].items()}
    examination, parts = Examination(run, choose_device("auto", "float32")), []
    for anchor in PARTS:
        if anchor in PANELS:
            result = run_panel(examination, anchor)
            part = page.load("panel.html", anchor=anchor, result=result, **values)
            parts += [] if result.missing else [part]
        elif getattr(facts, sections.SECTIONS[anchor]):
            parts.append(page.load(f"{anchor}.html", **values))
    methods = [config.optimizer, config.schedule, *config.augment, config.model]
    methods += [source_name(config.data), config.init if config.init in transfer.NO_RUNS else ""]
    methods += [layer.kind for layer in examination.layers]
    methods += [name for name in ("label_smoothing", "freeze", "folds") if getattr(config, name)]
    environment = page.load("settings.html", **values).environment
    record = {"name": name, "facts": facts, "parts": parts, "environment": environment}
    opening = page.load("opening.html", **values)
    return record | {"opening": opening, "methods": " ".join(methods).lower()}


def _compare(runs: dict[str, Run], prefix: str) -> dict[str, Any]:
    """Return what the template shows of a comparison of runs by name."""
    names = {run.path: name for name, run in runs.items()}
    variants = [
        replace(v, name=names[v.runs[0].path]) if len(v.runs) == 1 else v
        for v in group_runs(runs.values())
    ]
    comparison = compare_runs(variants)
    values = compare.template_values(comparison)
    plots = {p.name: replace(p, name=prefix + p.name) for p in values["plots"]}
    values["plots"] = []  # of the template's own sections
    return {
        "names": ", ".join(runs),
        "headline": compare.headline(comparison),
        "parts": [page.load("comparison.html", anchor=a, **values) for a in ("variants", "pairs")],
        "differing": values["differing"],
        "curves": [plots[n] for n in compare.CURVES if n in plots and not n.endswith("seconds")],
        "plots": [plot for name, plot in plots.items() if name not in compare.CURVES],
    }


def read_words(path: Path) -> dict[str, Markup]:
    """Return a Markdown file as HTML by place, which a heading of the first level names.

    Text before the first is for the introduction. HTML is escaped; images are embedded.
    """
    markdown, words = MarkdownIt("js-default"), dict[str, Markup]()
    with reading(path, ValueError):
        tokens = markdown.parse("# Introduction\n\n" + path.read_text("utf-8-sig"))
    for child in (child for token in tokens for child in token.children or ()):
        if child.type == "image":
            pixels = decode.read(path.parent / unquote(str(child.attrs["src"])))
            child.attrs["src"] = decode.png_uri(pixels)
    starts = [i for i, t in enumerate(tokens) if (t.type, t.tag, t.level) == H1]
    for start, end in pairwise([*starts, len(tokens)]):
        title, block = tokens[start + 1].content.lower(), tokens[start + 3 : end]
        place = re.sub(r"^((figure|table) \d+)\b.*", r"\1", title)
        html = Markup(markdown.renderer.render(block, markdown.options, {}))
        words[place] = words.get(place, Markup()) + html
    return {place: text for place, text in words.items() if text}


def write_hand_in(document: bytes, path: Path) -> str:
    """Write the document and return a message; as PDF if `path` says so and a browser prints it."""
    reason, named = "", os.environ.get("SIGLUM_CHROMIUM")
    if path.suffix.lower() == ".pdf":
        browser = next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)
        reason = f"No PDF: {named or 'Chromium, Chrome or Edge'} is not installed. "
        try:
            if browser:
                print_pdf(document, path, browser)
                return f"Hand-in: {path}"
        except (OSError, subprocess.SubprocessError):
            reason = f"No PDF: {browser} failed, or took over {PRINT_SECONDS} s. "
        path = path.with_suffix(".html")
    write_atomic(path, document)
    return f"Hand-in: {path}\n{reason}Open the page in a browser and print it."


def print_pdf(document: bytes, path: Path, browser: str) -> None:
    """Print a page as PDF; raises OSError or SubprocessError if the browser fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not in /tmp and not hidden: a browser that is a snap reads neither.
    with TemporaryDirectory("-siglum", dir=path.parent, ignore_cleanup_errors=True) as name:
        folder = Path(name).absolute()
        source, pdf = folder / "page.html", folder / "page.pdf"
        source.write_bytes(document)
        flags = [*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={pdf}"]
        if getattr(os, "geteuid", lambda: 1)() == 0:  # Chromium refuses its sandbox to root
            flags.append("--no-sandbox")
        command = [browser, *flags, source.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=PRINT_SECONDS)
        pdf.replace(path)
