"""Format numbers, rates, durations and names for people."""

import math
import re
from datetime import datetime
from pathlib import PurePath
from typing import Any

from siglum.stats import Rate

# Control characters, also of the writing direction, without line ends and tabs.
CONTROL = re.compile("[\0-\b\v-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def percent(share: float, digits: int = 1) -> str:
    """Format a share: 0.985 as "98.5 %"."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f} %"


def percent_digits(total: int) -> int:
    """Return how many decimals a percentage of `total` items can support."""
    return 0 if total < 100 else 1 if total < 10_000 else 2


def rate(value: Rate, digits: int | None = None) -> str:
    """Format a rate: "98.2 %". Shows 100 % and 0 % only for all and none."""
    if not value.total:
        return "–"
    digits = percent_digits(value.total) if digits is None else digits
    step, number = 10.0**-digits, round(100 * value.value, digits)
    if 0 < value.hits < value.total:
        number = min(max(number, step), 100 - step)
    return f"{number:.{digits}f} %"


def interval(value: Rate, digits: int | None = None) -> str:
    """Format the 95 % confidence interval of a rate: "97.2 to 98.9 %"."""
    digits = percent_digits(value.total) if digits is None else digits
    return f"{100 * value.low:.{digits}f} to {100 * value.high:.{digits}f} %"


def rate_and_interval(value: Rate) -> str:
    """Format a rate with interval and counts: "98.7 % (95 % CI 97.2 to 98.9 %, 987 of 1,000)"."""
    counts = f"{value.hits:,} of {value.total:,}"
    return f"{rate(value)} (95 % CI {interval(value)}, {counts})"


def probability(value: float) -> str:
    """Format a probability in whole per cent: "96 %", "> 99 %", "< 1 %"."""
    whole = round(100 * value)
    return "> 99 %" if whole >= 100 else "< 1 %" if whole <= 0 else f"{whole} %"


def count(number: int, noun: str, plural: str = "") -> str:
    """Format a count with its noun: "1 image", "3,600 images"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def number(value: float) -> str:
    """Format a measured number with 3 decimals, or more where it is smaller than those."""
    if value == 0 or not math.isfinite(value) or abs(value) >= 0.001:
        return f"{value:.3f}"
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


def duration(seconds: float) -> str:
    """Format a time span: "1.2 s", "48 s", "12 min 5 s", "2 h 5 min"."""
    if seconds < 100:
        return f"{seconds:.{1 if seconds < 10 else 0}f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def date(timestamp: str) -> str:
    """Format the day of an ISO timestamp: "22 November 2026"."""
    when = datetime.fromisoformat(timestamp)
    return f"{when.day} {when:%B %Y}"


def shorten(text: str, width: int) -> str:
    """Cut the middle out of a text longer than `width` characters, so that both ends stay."""
    half = (width - 1) // 2
    return text if len(text) <= width else f"{text[: width - 1 - half]}…{text[-half:]}"


def printable(text: str, lines: bool = False) -> str:
    """Replace control characters, which could hide text, and line ends if not `lines`."""
    if lines:
        return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def source_name(spec: str) -> str:
    """Return the short name of a data source: "signs" for "folder:/home/me/signs"."""
    path = spec.partition(":")[2] or spec
    parts = [part for part in PurePath(path).parts if part not in ("raw", "..", "/")]
    return parts[-1] if parts else path


def render_template(package: str, name: str, **values: Any) -> str:
    """Render an HTML template in the folder of a package; values are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # late: few commands need it

    loader = PackageLoader(package, ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"count": count, "probability": probability}
    return environment.get_template(name).render(values)
