"""The report that is saved from the Studio: one HTML page that loads and runs nothing."""

import base64
from datetime import date
from importlib import resources
from typing import Any

import jinja2

from siglum import __version__, formatting, stats
from siglum.studio import drawings, serializers
from siglum.studio.state import Snapshot, Studio

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
THUMBNAIL = 80  # px
MAX_EACH, MAX_ALL = 12, 1_500  # images of a class or confusion; of the page


def report_page(studio: Studio, now: Snapshot) -> tuple[str, str]:
    """Return the page and its content security policy."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["rate"] = lambda one: formatting.rate_and_interval(stats.Rate(**one))
    environment.filters["count"] = formatting.count
    files = resources.files("siglum.studio")
    template = environment.from_string(files.joinpath("report.html").read_text("utf-8"))
    remaining = MAX_ALL

    def images(ids: list[str]) -> list[dict[str, Any]]:
        nonlocal remaining
        chosen = ids[: min(MAX_EACH, remaining)]
        remaining -= len(chosen)
        return [_thumbnail(studio, now, id) for id in chosen]

    page = template.render(
        state=serializers.shared_state(studio, now),
        names=now.state.classes,
        images=images,
        drawings_of=lambda id: now.state.select(id, "train"),
        css=files.joinpath("report.css").read_text("utf-8"),
        policy=POLICY,
        date=formatting.date(date.today().isoformat()),
        version=__version__,
    )
    return page, f"{POLICY}; frame-ancestors 'none'"


def _thumbnail(studio: Studio, now: Snapshot, id: str) -> dict[str, Any]:
    entry = now.state.drawings[id]
    image = drawings.decode_image(studio.store.content(id)[1])
    return {
        "data": base64.b64encode(drawings.to_png(image, THUMBNAIL)).decode(),
        "label": now.state.classes[entry.label],
        "photo": entry.photo,
    }
