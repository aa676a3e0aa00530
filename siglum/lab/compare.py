"""Arms side by side: how well each reads, how fast it got there, and which differences are shown.

Train accuracy is the last epoch's, on changed pictures, under dropout, while the weights still
move; so it may lie below the validation accuracy, and the gap between them below 0.
Shapes: N pictures, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from siglum.errors import ConfigError
from siglum.lab.arms import Arm, arms_of, check_finished, check_seeds, differing
from siglum.lab.outcome import Outcome, Reached, levels_of, outcome_of, reached
from siglum.lab.paired import Interval, Pair, Right, SeedPair, adjust, pair
from siglum.lab.runs import Run

__all__ = ["Arm", "Comparison", "Interval", "Outcome", "Pair", "Reached", "SeedPair"]
__all__ += ["arms_of", "compare", "finding", "leader", "shown"]

KINDS = {"test": "test", "val": "validation"}  # what is compared: the first that every run has
ALL_PAIRS = 6  # arms; of more, each is compared with the best and with the first


@dataclass(frozen=True)
class Comparison:
    """All that is known of a number of arms; `dataclasses.asdict` makes it ready for JSON."""

    part: str  # a key of KINDS
    arms: tuple[Outcome, ...]  # in the order given; those without a finished run too
    levels: tuple[float, ...]  # accuracies that tell fast arms from slow ones, rising
    reached: tuple[tuple[Reached, ...], ...]  # for every arm, for every level
    span: tuple[int, int] | None  # pictures shown, between which areas under curves are taken
    pairs: tuple[Pair, ...]
    shared: dict[str, Any]  # settings that are the same in all runs
    differing: tuple[str, ...]  # names of the others, the seed left out
    machines: tuple[str, ...]  # seconds can be compared where this is one

    @property
    def kind(self) -> str:
        """The part in words: "test" or "validation"."""
        return KINDS[self.part]


def compare(arms: Sequence[Arm]) -> Comparison:
    """Measure arms and test their differences, on the test pictures where every run has them.

    Otherwise on the validation pictures. Arms without a finished run are kept, with what is known
    of them, and are in no test.

    Raises:
        RunError: if a run is not finished or is damaged.
        ConfigError: if nothing is finished, an arm has two runs of one seed, names are not unique,
            or runs were measured on different pictures.
    """
    runs = [run for arm in arms for run in arm.runs]
    names = [arm.name for arm in arms]
    if not runs:
        raise ConfigError(
            f"arms must hold at least one finished run, got none in {', '.join(names) or 'none'}. "
            "Train one with 'siglum train'."
        )
    if len(set(names)) < len(names):
        raise ConfigError(f"arms must have names of their own, got {', '.join(names)}.")
    for arm in arms:
        check_seeds(arm)
    for run in runs:
        check_finished(run)
    part = _part(runs)
    _check_pictures(runs, part)
    answers = [{run.config.seed: _right(run, part) for run in arm.runs} for arm in arms]
    outcomes, span = outcome_of(arms, part)
    levels = levels_of(outcomes)
    same_pictures = len({str(run.env["data"][part]) for run in runs}) == 1 or part == "test"
    configs = [config for outcome in outcomes for config in outcome.configs]
    different = differing(configs)
    first = configs[0]
    return Comparison(
        part=part,
        arms=outcomes,
        levels=levels,
        reached=tuple(tuple(reached(o, level) for level in levels) for o in outcomes),
        span=span,
        pairs=adjust(
            [
                pair(names[i], names[j], answers[i], answers[j], same_pictures)
                for i, j in _pairs(outcomes, part)
            ]
        ),
        shared={n: v for n, v in first.items() if n != "seed" and n not in different},
        differing=tuple(different),
        machines=tuple(dict.fromkeys(_machine(run.env) for run in runs)),
    )


def leader(outcomes: Sequence[Outcome], part: str) -> int:
    """Return the index of the best arm by validation accuracy, or by `part` where one has none."""
    there = [i for i, outcome in enumerate(outcomes) if outcome.seeds]
    key = "val" if all(outcomes[i].val for i in there) else part
    return max(there, key=lambda i: outcomes[i].figure(key).mean)


def _pairs(outcomes: Sequence[Outcome], part: str) -> list[tuple[int, int]]:
    there = [i for i, outcome in enumerate(outcomes) if outcome.seeds]
    if len(there) <= ALL_PAIRS:
        return list(combinations(there, 2))
    chosen: dict[tuple[int, int], None] = {}
    for anchor in (leader(outcomes, part), there[0]):
        chosen |= {(min(anchor, i), max(anchor, i)): None for i in there if i != anchor}
    return list(chosen)


def _part(runs: Sequence[Run]) -> str:
    for part in KINDS:
        if all((run.result or {}).get(part) for run in runs):
            return part
    raise ConfigError(
        "runs must all have test pictures or all have validation pictures to be compared, got "
        f"{', '.join(str(run.path) for run in runs if not _measured(run)) or 'a mixture'}. "
        "Give --val or --test to 'siglum train'."
    )


def _measured(run: Run) -> bool:
    return any((run.result or {}).get(part) for part in KINDS)


def _check_pictures(runs: Sequence[Run], part: str) -> None:
    """Raise ConfigError unless all runs, or for validation those of a seed, have one set."""
    known: dict[int, Run] = {}
    for run in runs:
        other = known.setdefault(run.config.seed if part == "val" else 0, run)
        if _same_pictures(run, other, part):
            continue
        if part == "test":
            raise ConfigError(
                f"runs must be measured on the same test pictures to be compared, got {other.path} "
                f"and {run.path}, whose test sets differ. Train both with the same --test."
            )
        raise ConfigError(
            "runs of one seed must hold out the same validation pictures to be compared, got "
            f"{other.path} and {run.path}, whose validation sets differ (seed {run.config.seed}). "
            "Train both with the same data and --val, or give both a --test."
        )


def _same_pictures(run: Run, other: Run, part: str) -> bool:
    """Tell whether two runs were measured on the same pictures.

    A fingerprint is of pictures as they were fitted: of two arms that fit them differently, only
    the labels can be the same.
    """
    if run is other:
        return True
    ours, theirs = (r.predictions()[f"{part}_labels"] for r in (run, other))
    if not np.array_equal(ours, theirs):
        return False
    fits = [r.preprocess.model_dump(exclude={"mean", "std"}) for r in (run, other)]
    return fits[0] != fits[1] or run.env["data"][part] == other.env["data"][part]


def _right(run: Run, part: str) -> Right:
    predictions = run.predictions()
    predicted = predictions[f"{part}_log_probs"].argmax(axis=1)
    return np.asarray(predicted == predictions[f"{part}_labels"])


def _machine(env: Mapping[str, Any]) -> str:
    machine = env["machine"]
    threads = f"{machine['threads']} thread" + ("s" if machine["threads"] != 1 else "")
    return f"{env['processor']}, {machine['device']}, {threads}, {machine['precision']}"


def shown(pair: Pair) -> bool:
    """Tell whether the pair's difference is shown: 0 is outside, and p after Holm below 0.05."""
    over = pair.over_both
    return over is not None and not over.low <= 0 <= over.high and over.adjusted < 0.05


def finding(comparison: Comparison) -> str:
    """Return what the comparison shows, in one sentence."""
    arms = {outcome.name: outcome for outcome in comparison.arms if outcome.seeds}
    tested = [pair for pair in comparison.pairs if pair.seeds]
    if len(arms) < 2:
        return f"Only {next(iter(arms))} has finished runs: there is nothing to compare yet."
    if not tested:
        return "No two arms have a seed in common: nothing can be paired. Train the same seeds."
    if len(arms) == 2:
        return _of_two(tested[0], comparison)
    return _of_several(comparison, list(arms), tested)


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
