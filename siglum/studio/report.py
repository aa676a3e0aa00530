"""One page of what was taught and how well it is read, which loads nothing and runs nothing.

Whatever people typed goes through `html.escape` and stands in a `<bdi>`.
"""

import base64
import io
from collections.abc import Sequence
from datetime import date
from html import escape
from importlib import resources

from PIL import Image

from siglum import __version__, stats
from siglum.recogniser.findings import Point
from siglum.studio import view
from siglum.studio.snapshot import Snapshot
from siglum.studio.studio import Missing, Studio
from siglum.studio.view import Json

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
THUMB = 80  # px of a drawing's picture
EACH, ALL = 12, 1_500  # pictures of a class or of a confusion; of the whole page
CONFUSIONS = 12
WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 560, 232, 44, 120, 12, 44  # px of the curve


def page(studio: Studio, now: Snapshot) -> str:
    """Return the page of a snapshot as HTML."""
    state = view.shared(now, studio.backbone, studio.title, studio.id)
    names = now.names
    pictures = _Pictures(studio, now)
    style = resources.files("siglum.studio").joinpath("report.css").read_text("utf-8")
    title = f"{studio.title}: what was taught, and how well it is read"
    parts = [
        _head(state),
        _promises(state["promises"]),
        _curve(now.analysis.curve),
        _classes(state["classes"], now, pictures),
        _confusions("What is confused", state["confusions"], names, pictures),
        _quiz(state["quiz"], names, pictures),
        _writers(state["writers"]),
    ]
    made = (
        f"Made by Siglum {escape(__version__)} on {date.today().isoformat()}. Each drawing was "
        "read by what all others taught, with 95 % Wilson intervals. They hold for drawings made "
        "as these were: by the same hands, with the same pens."
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_inside(POLICY))}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f'{"".join(parts)}<footer class="quiet">{made}</footer></body></html>\n'
    )


def _inside(policy: str) -> str:
    """Return what of a policy may stand in a page itself."""
    return "; ".join(part for part in policy.split("; ") if not part.startswith("frame-"))


class _Pictures:
    """Small pictures of drawings as data, as long as there is room for more."""

    def __init__(self, studio: Studio, now: Snapshot) -> None:
        self.studio, self.now, self.left = studio, now, ALL

    def of(self, names: Sequence[str]) -> str:
        """Return the first few drawings as HTML."""
        shown = [self._one(name) for name in names[: min(EACH, self.left)]]
        self.left -= len(shown)
        more = len(names) - len(shown)
        said = f'<span class="quiet">and {more:,} more</span>' if more else ""
        return f'<div class="inks">{"".join(shown)}{said}</div>'

    def _one(self, name: str) -> str:
        try:
            with Image.open(io.BytesIO(self.studio.picture(name)), formats=["PNG"]) as opened:
                picture = opened.convert("L" if opened.mode in ("1", "L") else "RGB")
        except Missing:
            return ""
        drawn = picture.mode == "L"
        picture.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        picture.save(file, "PNG", optimize=True)
        data = base64.b64encode(file.getvalue()).decode()
        meant = escape(self.now.state.drawings[name].class_name)
        kind = ' class="drawn"' if drawn else ""
        shown = f'<img{kind} src="data:image/png;base64,{data}" alt="a drawing of {meant}">'
        return f"<span>{shown}</span>"


def _head(state: Json) -> str:
    classes = state["classes"]
    drawings = sum(one["taught"] for one in classes)
    known = f"{_count(len(classes), 'sign')}, {_count(drawings, 'drawing')} to learn from"
    rate = state["right"]
    if rate is None:
        finding = "Nothing was tested yet: no drawing can be read by the others."
        finding = (
            finding if drawings else "Known from print alone: how well it reads is not tested."
        )
    else:
        finding = (
            f"{rate['hits']} of {rate['total']} drawings are read right: "
            f"{_percent(rate['hits'] / rate['total'])}, the true rate is between "
            f"{_percent(rate['low'])} and {_percent(rate['high'])}."
        )
    where = f'<p class="eyebrow"><bdi>{escape(str(state["title"]))}</bdi> · {known}</p>'
    return f"{where}<h1>{finding}</h1>"


def _promises(promises: Sequence[str]) -> str:
    return "".join(f'<p class="quiet">{escape(said)}</p>' for said in promises)


def _curve(points: Sequence[Point]) -> str:
    """Return the learning curve, with a band from the lowest draw to the highest."""
    if len(points) < 2:
        return ""
    last = points[-1]
    across = WIDE - LEFT - RIGHT
    down = HIGH - TOP - BOTTOM

    def x(number: int) -> float:
        return LEFT + across * number / (len(points) - 1)

    def y(share: float) -> float:
        return TOP + down * (1 - share)

    upper = [f"{x(i):.1f},{y(one.high):.1f}" for i, one in enumerate(points)]
    lower = [f"{x(i):.1f},{y(one.low):.1f}" for i, one in enumerate(points)]
    middle = [f"{x(i):.1f},{y(one.right):.1f}" for i, one in enumerate(points)]
    drawn = [f'<polygon class="band" points="{" ".join([*upper, *reversed(lower)])}"/>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = y(share)
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{at}" y2="{at}"/>')
        drawn.append(
            f'<text x="{LEFT - 8}" y="{at + 4}" text-anchor="end">{100 * share:.0f} %</text>'
        )
    drawn.append(f'<polyline class="line" points="{" ".join(middle)}"/>')
    for i, one in enumerate(points):
        drawn.append(f'<circle class="dot" cx="{x(i):.1f}" cy="{y(one.right):.1f}" r="3"/>')
        drawn.append(
            f'<text x="{x(i):.1f}" y="{HIGH - 26}" text-anchor="middle">{one.samples}</text>'
        )
    drawn.append(f'<text x="{LEFT}" y="{HIGH - 8}">drawings a sign</text>')
    end = f"{_percent(last.right)} right"
    drawn.append(f'<text x="{WIDE - RIGHT + 10}" y="{y(last.right) + 4:.1f}">{end}</text>')
    finding = f"With {_count(last.samples, 'drawing')} a sign, {end}"
    said = (
        "So many drawings of each sign are taken by lot, ten times, and read the others of the "
        "signs that have more. The line is the mean, the band goes from the lowest to the highest."
    )
    return (
        f"<h2>{finding}</h2><figure>"
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{finding}">{"".join(drawn)}</svg>'
        f"<figcaption>{said}</figcaption></figure>"
    )


def _classes(classes: Sequence[Json], now: Snapshot, pictures: _Pictures) -> str:
    if not classes:
        return "<h2>No signs yet</h2>"
    rows = []
    for one in classes:
        drawn = pictures.of(now.state.of(one["name"], None, "taught"))
        said = '<span class="quiet">known from print</span>' if one["print"] else ""
        if one["advice"] is not None:
            said = f'<span class="doubt">{escape(one["advice"])}</span>'
        rows.append(
            f'<tr><td>{_sign(one["name"])}</td><td class="number">{one["taught"]}</td>'
            f'<td class="number">{_rate(one["right"])}</td>'
            f"<td>{drawn}{said}</td></tr>"
        )
    head = (
        '<tr><th>sign</th><th class="number">drawings</th>'
        '<th class="number">read right</th><th></th></tr>'
    )
    return f'<h2>The signs</h2><div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _confusions(
    title: str, confusions: Sequence[Json], names: dict[str, str], pictures: _Pictures
) -> str:
    rows = [
        f"<tr><td>{_sign(names[one['meant']])}</td><td>{_read_as(one['read'], names)}</td>"
        f'<td class="number">{one["times"]} of {one["of"]}</td>'
        f"<td>{pictures.of(one['samples'])}</td></tr>"
        for one in confusions[:CONFUSIONS]
    ]
    if not rows:
        return ""
    more = len(confusions) - len(rows)
    said = f'<p class="quiet">and {more:,} rarer ones</p>' if more else ""
    head = '<tr><th>meant</th><th>read as</th><th class="number">times</th><th></th></tr>'
    table = f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'
    return f"<h2>{title}</h2>{table}{said}"


def _quiz(quiz: Json, names: dict[str, str], pictures: _Pictures) -> str:
    rate = quiz["right"]
    if rate is None:
        return ""
    said = (
        f"<h2>Tested: {rate['hits']} of {rate['total']} right</h2><p>Drawn when asked, and never "
        f"learned from: {_rate(rate)}.</p>"
    )
    return said + _confusions("What the test confused", quiz["confusions"], names, pictures)


def _writers(writers: Sequence[Json]) -> str:
    if len(writers) < 2:
        return ""
    rows = [
        f'<tr><td class="short"><bdi>{escape(one["name"]) or "no name"}</bdi></td>'
        f'<td class="number">{one["taught"]}</td><td class="number">{one["quiz"]}</td>'
        f'<td class="number">{_rate(one["right"])}</td></tr>'
        for one in writers
    ]
    head = (
        '<tr><th>who</th><th class="number">drew</th><th class="number">to test</th>'
        '<th class="number">read by what the others taught</th></tr>'
    )
    return f'<h2>Who drew</h2><div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _sign(name: str) -> str:
    kind = "sign" if len(name) <= 3 else "short"
    return f'<bdi class="{kind}">{escape(name)}</bdi>'


def _read_as(id_: str | None, names: dict[str, str]) -> str:
    return "none of these" if id_ is None else _sign(names[id_])


def _rate(rate: Json | None) -> str:
    if rate is None:
        return "not tested"
    found = stats.Rate(**rate)
    return (
        f"{rate['hits']} of {rate['total']}: {_percent(found.value)} "
        f"({100 * found.low:.0f} to {100 * found.high:.0f})"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
