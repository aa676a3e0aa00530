"""How the report writes numbers, durations, days and names."""

import math
from datetime import datetime
from pathlib import PurePath

from markupsafe import Markup, escape

from siglum.stats import Rate

SPACE = "\N{NO-BREAK SPACE}"  # between a number and its unit
LONGEST = 48  # characters of a class name that are shown
FEW = 100  # below this many pictures a rate is told with a warning, and without decimals


def count(number: int, one: str, many: str = "") -> str:
    """Write a count with its noun: "1 picture", "3,600 pictures"."""
    return f"{number:,}{SPACE}{one if number == 1 else many or one + 's'}"


def digits(total: int) -> int:
    """Return how many decimals a percentage of `total` things bears."""
    return 0 if total < FEW else 1 if total < 10_000 else 2


def percent(rate: Rate, places: int | None = None) -> str:
    """Write a rate: "98.2 %"; 100 and 0 % only if it was all or none."""
    if not rate.total:
        return "–"
    places = digits(rate.total) if places is None else places
    value, step = round(100 * rate.value, places), 10.0**-places
    if rate.hits < rate.total:
        value = min(value, 100 - step)
    if rate.hits > 0:
        value = max(value, step)
    return f"{value:.{places}f}{SPACE}%"


def between(rate: Rate, places: int | None = None) -> str:
    """Write a rate's interval: "97.2 and 98.9 %"."""
    places = digits(rate.total) if places is None else places
    return f"{100 * rate.low:.{places}f} and {100 * rate.high:.{places}f}{SPACE}%"


def span(rate: Rate, places: int | None = None) -> str:
    """Write a rate's interval for a table: "97.2–98.9"."""
    places = digits(rate.total) if places is None else places
    return f"{100 * rate.low:.{places}f}–{100 * rate.high:.{places}f}"


def sureness(probability: float) -> str:
    """Write a network's probability: "96 %", never 0 or 100."""
    whole = round(100 * probability)
    if whole >= 100:
        return f"over 99{SPACE}%"
    return f"{whole}{SPACE}%" if whole > 0 else f"under 1{SPACE}%"


def duration(seconds: float) -> str:
    """Write a time: "1.2 s", "48 s", "12 min 5 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f}{SPACE}s"
    if seconds < 100:
        return f"{seconds:.0f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes}{SPACE}min {rest}{SPACE}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{SPACE}h {minutes}{SPACE}min"


def day(moment: str) -> str:
    """Write the day of an ISO time: "22 November 2026"."""
    when = datetime.fromisoformat(moment)
    return f"{when.day}{SPACE}{when:%B %Y}"


def clock(moment: str) -> str:
    """Write an ISO time with its day: "22 November 2026, 02:46 UTC"."""
    return f"{day(moment)}, {datetime.fromisoformat(moment):%H:%M %Z}"


def source(spec: str) -> str:
    """Return the short name of a source: "signs" for "folder:/home/me/signs"."""
    parts = [p for p in PurePath(spec.partition(":")[2]).parts if p not in ("raw", "..", "/")]
    return parts[-1] if parts else spec


def name(text: str) -> Markup:
    """Write a name that somebody else chose, kept to itself in direction and length."""
    return Markup("<bdi>{}</bdi>").format(text)


def sign(text: str) -> Markup:
    """Write the name of a class: long, it breaks after slashes; very long, it loses its middle."""
    half = LONGEST // 2
    short = f"{text[:half]}…{text[-half:]}" if len(text) > LONGEST else text
    broken = escape(short).replace("/", Markup("/<wbr>"))
    if short == text:
        return Markup('<bdi class="sign">{}</bdi>').format(broken)
    return Markup('<bdi class="sign" title="{}">{}</bdi>').format(text, broken)


def number(value: float) -> str:
    """Write a measured number with three decimals, or as many as show it."""
    if value == 0 or abs(value) >= 0.001:
        return f"{value:.3f}"
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


def sentence(text: str, *names: str) -> Markup:
    """Return a sentence of ours, with names of others in the places of its {}."""
    return Markup(text.removesuffix(".") + ".").format(*map(name, names))
