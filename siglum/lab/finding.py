"""What a comparison shows, in one sentence."""

from collections.abc import Sequence
from dataclasses import replace

from siglum.lab.compare import Comparison, leader
from siglum.lab.outcome import Outcome
from siglum.lab.paired import Interval, Pair


def shown(pair: Pair) -> bool:
    """Tell whether the pair's difference is shown: 0 is outside, and p after Holm below 0.05."""
    over = pair.over_both
    return over is not None and not over.low <= 0 <= over.high and over.adjusted < 0.05


def finding(comparison: Comparison) -> str:
    """Return what the comparison shows, in one sentence."""
    arms = {outcome.name: outcome for outcome in comparison.arms if outcome.seeds}
    tested = [pair for pair in comparison.pairs if pair.seeds]
    if len(arms) < 2:
        return _of_one(next(iter(arms.values())), comparison)
    if not tested:
        return "No two arms have a seed in common: nothing can be paired. Train the same seeds."
    if len(arms) == 2:
        return _of_two(tested[0], comparison)
    if comparison.planned:
        return _of_planned(comparison, tested)
    return _of_several(comparison, list(arms), tested)


def _of_one(arm: Outcome, comparison: Comparison) -> str:
    found = arm.figure(comparison.part)
    said = f"{arm.name} reads {100 * found.mean:.1f} % of the {comparison.kind} pictures"
    if found.low is not None and found.high is not None:
        said += f" (95 %: {100 * found.low:.1f} to {100 * found.high:.1f} %; {found.interval})"
    if len(comparison.arms) > 1:
        said += "; no other arm has finished runs: there is nothing to compare yet"
    return f"{said}."


def _of_two(pair: Pair, comparison: Comparison) -> str:
    pair = _ahead(pair)
    assert pair.accuracies is not None
    ours, theirs = (_number(value, pair) for value in pair.accuracies)
    read = f"{ours} against {theirs} %"
    size = _size([pair], comparison)
    if pair.over_both is None:
        seed = pair.seeds[0]
        over = f"{_interval(_over_pictures(pair), pair)}; McNemar's {_p(seed.over_pictures.p)}"
        return (
            f"{pair.first} and {pair.second}: {read}, difference {_points(pair)} "
            f"({over}), {size}: one seed cannot tell the arms from the luck of "
            "the start."
        )
    if shown(pair):
        return f"{pair.first} is better than {pair.second} by {_by(pair)}: {read}, {size}."
    sentence = (
        f"{pair.first} and {pair.second}: no difference shown: {read}, difference "
        f"{_points(pair)} ({_interval((pair.over_both.low, pair.over_both.high), pair)}), {size}"
    )
    return sentence + _in_part(pair) + "."


def _of_planned(comparison: Comparison, tested: Sequence[Pair]) -> str:
    """Say of each pair that was named beforehand what it shows."""
    parts = []
    for pair in map(_ahead, tested):
        if pair.over_both is None:
            one = f"one seed cannot tell {pair.first} and {pair.second} apart"
        elif shown(pair):
            one = f"{pair.first} is better than {pair.second} by {_by(pair)}"
        else:
            one = f"{pair.first} and {pair.second}: no difference shown, {_by(pair)}"
        parts.append(one)
    return f"{'; '.join(parts)} ({_size(tested, comparison)})."


def _of_several(comparison: Comparison, names: list[str], tested: list[Pair]) -> str:
    size = _size(tested, comparison)
    best = comparison.arms[leader(comparison.arms, comparison.part)]
    by = "validation" if best.val else comparison.kind
    own = [_ahead(pair) for pair in tested if best.name in (pair.first, pair.second)]
    if all(pair.over_both is None for pair in tested):
        return (
            f"{best.name} reads most of the {by} pictures of {len(names)} arms, but one seed "
            f"cannot tell the arms from the luck of the start ({size})."
        )
    found = [pair for pair in tested if shown(pair)]
    if not found:
        widest = _ahead(max(tested, key=lambda pair: abs(pair.difference or 0.0)))
        told = _by(widest) if widest.over_both else _points(widest)
        return (
            f"{_listed(names)}: no difference shown; the widest, {widest.first} over "
            f"{widest.second}, is {told}, {size}."
        )
    better = [p for p in own if shown(p) and p.first == best.name]
    worse = [p for p in own if shown(p) and p.first != best.name]
    equal = [p for p in own if not shown(p)]
    parts = []
    if len(better) > 3:
        gains = [p.difference or 0.0 for p in better]
        by_points = f"{_number(min(gains), better[0])} to {_number(max(gains), better[0])} points"
        of = f"{len(better)} of {len(names) - 1} arms"
        parts.append(f"is better than {of}, by {by_points} (p < 0.05 after Holm)")
    elif better:
        than = (f"than {p.second} by {_by(p)}" for p in better)
        parts.append("is better " + _listed(list(than)))
    if worse:
        parts.append("is worse " + _listed([f"than {p.first} by {_by(p)}" for p in worse]))
    if equal:
        others = [p.second if p.first == best.name else p.first for p in equal]
        parts.append(f"shows no difference from {_listed(others)}")
    sentence = f"{best.name}, best on the {by} pictures, {'; it '.join(parts)}"
    rest, differ = len(tested) - len(own), len(found) - len(better) - len(worse)
    if rest == 1:
        sentence += f"; the other two {'differ' if differ else 'show no difference'}"
    elif rest:
        sentence += f"; of the other {rest} pairs {differ or 'none'} differ{'s' * (differ == 1)}"
    return f"{sentence} ({size})."


def _ahead(pair: Pair) -> Pair:
    """Return the pair with the arm that read more pictures as the first."""
    if pair.difference is None or pair.difference >= 0:
        return pair

    def turned(over: Interval | None) -> Interval | None:
        return over and Interval(-over.high, -over.low, over.p, over.adjusted)

    low, high = _over_pictures(pair)
    return replace(
        pair,
        first=pair.second,
        second=pair.first,
        accuracies=pair.accuracies and pair.accuracies[::-1],
        difference=-pair.difference,
        over_seeds=turned(pair.over_seeds),
        over_pictures=(-high, -low),
        over_both=turned(pair.over_both),
    )


def _in_part(pair: Pair) -> str:
    """Tell where one of the narrower intervals leaves 0 out, and why that is not enough."""
    narrow = {"pictures": _over_pictures(pair)}
    if pair.over_seeds:
        narrow["seeds"] = pair.over_seeds.low, pair.over_seeds.high
    apart = [
        f"over {name} alone ({_number(over[0], pair)} to {_number(over[1], pair)})"
        for name, over in narrow.items()
        if not over[0] <= 0 <= over[1]
    ]
    told = f"; 0 lies outside the interval {_listed(apart)}, which is luck of one kind only"
    return told if apart else ""


def _over_pictures(pair: Pair) -> tuple[float, float]:
    assert pair.over_pictures is not None
    return pair.over_pictures


def _by(pair: Pair) -> str:
    over = pair.over_both
    assert over is not None
    sure = f"{_interval((over.low, over.high), pair)}; {_p(over.adjusted)} after Holm"
    return f"{_points(pair)} ({sure})"


def _size(pairs: Sequence[Pair], comparison: Comparison) -> str:
    seeds, pictures = (
        {f(p) for p in pairs} for f in (lambda p: len(p.seeds), lambda p: p.pictures)
    )
    many = f"{_range(seeds)} seed{'' if max(seeds) == 1 else 's'}"
    return (
        f"{many}, {_range(pictures)} {comparison.kind} picture{'' if max(pictures) == 1 else 's'}"
    )


def _range(counts: set[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1])] * (len(parts) > 1) + parts[-1:])


def _number(share: float, pair: Pair) -> str:
    written = f"{100 * share:.{2 if pair.pictures >= 1000 else 1}f}"
    return written.removeprefix("-") if not float(written) else written


def _points(pair: Pair) -> str:
    return f"{_number(pair.difference or 0.0, pair)} points"


def _interval(over: tuple[float, float], pair: Pair) -> str:
    return f"95 %: {_number(over[0], pair)} to {_number(over[1], pair)}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.{3 if value < 0.1 else 2}f}"
