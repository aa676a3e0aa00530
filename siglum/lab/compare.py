"""Arms side by side: how well each reads, how fast it got there, and which differences are shown.

Train accuracy is the last epoch's, on changed pictures, under dropout, while the weights still
move; so it may lie below the validation accuracy, and the gap between them below 0.
Shapes: N pictures, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from siglum.errors import ConfigError
from siglum.lab.arms import Arm, arms_of, check_finished, check_seeds, differing
from siglum.lab.by_writer import ByWriter, by_writer
from siglum.lab.effects import Effects, effects_of
from siglum.lab.growth import Growth, growth_of
from siglum.lab.outcome import Outcome, Reached, levels_of, outcome_of, reached, watched_of
from siglum.lab.paired import Folds, Interval, Pair, Right, SeedPair, adjust, pair
from siglum.lab.pooled import Finished, Pooled

__all__ = ["Arm", "Comparison", "Interval", "Outcome", "Pair", "Reached", "SeedPair"]
__all__ += ["arms_of", "compare", "leader"]

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
    watched: str = "val"  # what curves are of: "val", or "train" where no run validated
    effects: Effects | None = None  # of the settings of a full grid
    no_effects: str = ""  # why there are none, where there is a grid
    growth: Growth | None = None  # accuracy against a setting that is a number
    writers: ByWriter | None = None  # where it is known who wrote the test pictures
    planned: bool = False  # whether the pairs were named before there was anything to compare

    @property
    def kind(self) -> str:
        """The part in words: "test" or "validation"."""
        return KINDS[self.part]

    @property
    def watching(self) -> str:
        """What curves are of, in words: "validation" or "training"."""
        return {"val": "validation", "train": "training"}[self.watched]


def compare(arms: Sequence[Arm], planned: Sequence[tuple[str, str]] = ()) -> Comparison:
    """Measure arms and test their differences, on the test pictures where every run has them.

    Otherwise on the validation pictures. Arms without a finished run are kept, with what is known
    of them, and are in no test.

    Args:
        planned: the names of the arms to test against each other, which the question was about
            before there was an answer. The fewer, the more a test can show.

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
    watched = watched_of(arms)
    outcomes, span = outcome_of(arms, part, watched)
    levels = levels_of(outcomes, watched)
    factors = {arm.name: arm.levels for arm in arms}
    effects, why = effects_of(outcomes, factors, part)
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
                pair(names[i], names[j], answers[i], answers[j], same_pictures, _folds(arms, i, j))
                for i, j in _pairs(outcomes, part, planned)
            ]
        ),
        shared={n: v for n, v in first.items() if n != "seed" and n not in different},
        differing=tuple(different),
        machines=tuple(dict.fromkeys(_machine(run.env) for run in runs)),
        watched=watched,
        effects=effects,
        no_effects=why,
        growth=growth_of(outcomes, factors, part),
        writers=by_writer(arms, answers) if part == "test" else None,
        planned=bool(planned),
    )


def leader(outcomes: Sequence[Outcome], part: str) -> int:
    """Return the index of the best arm by validation accuracy, or by `part` where one has none."""
    there = [i for i, outcome in enumerate(outcomes) if outcome.seeds]
    key = "val" if all(outcomes[i].val for i in there) else part
    return max(there, key=lambda i: outcomes[i].figure(key).mean)


def _pairs(
    outcomes: Sequence[Outcome], part: str, planned: Sequence[tuple[str, str]]
) -> list[tuple[int, int]]:
    there = [i for i, outcome in enumerate(outcomes) if outcome.seeds]
    if planned:
        place = {outcomes[i].name: i for i in there}
        return [(place[a], place[b]) for a, b in planned if a in place and b in place]
    if len(there) <= ALL_PAIRS:
        return list(combinations(there, 2))
    chosen: dict[tuple[int, int], None] = {}
    for anchor in (leader(outcomes, part), there[0]):
        chosen |= {(min(anchor, i), max(anchor, i)): None for i in there if i != anchor}
    return list(chosen)


def _part(runs: Sequence[Finished]) -> str:
    for part in KINDS:
        if all((run.result or {}).get(part) for run in runs):
            return part
    raise ConfigError(
        "runs must all have test pictures or all have validation pictures to be compared, got "
        f"{', '.join(str(run.path) for run in runs if not _measured(run)) or 'a mixture'}. "
        "Give --val or --test to 'siglum train'."
    )


def _measured(run: Finished) -> bool:
    return any((run.result or {}).get(part) for part in KINDS)


def _check_pictures(runs: Sequence[Finished], part: str) -> None:
    """Raise ConfigError unless all runs, or for validation those of a seed, have one set."""
    known: dict[int, Finished] = {}
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


def _folds(arms: Sequence[Arm], i: int, j: int) -> Folds | None:
    """Return how both arms' pictures were cut into folds; None where neither's were.

    Raises:
        ConfigError: if they were cut differently.
    """
    ours, theirs = ({run.config.seed: run for run in arms[k].runs} for k in (i, j))
    parts, ratios = {}, []
    for seed in ours.keys() & theirs.keys():
        both = [run.parts if isinstance(run, Pooled) else () for run in (ours[seed], theirs[seed])]
        cut = [sorted(rows.tolist() for rows in one) for one in both]
        if cut[0] != cut[1]:
            raise ConfigError(
                "arms must be cut into the same folds to be compared, got different ones of "
                f"{arms[i].name} and {arms[j].name}. Give both the same folds and split."
            )
        if isinstance(run := ours[seed], Pooled):
            parts[seed] = run.parts
            ratios.append(run.ratio)
    return Folds(parts, sum(ratios) / len(ratios)) if parts else None


def _same_pictures(run: Finished, other: Finished, part: str) -> bool:
    """Tell whether two runs were measured on the same pictures.

    A fingerprint is of pictures as they were fitted: of two arms that fit them differently, only
    the labels can be the same.
    """
    if run is other:
        return True
    ours, theirs = (r.predictions()[f"{part}_labels"] for r in (run, other))
    if not np.array_equal(ours, theirs):
        return False
    fits = [r.preprocess.model_dump(exclude={"mean", "std", "margins"}) for r in (run, other)]
    return fits[0] != fits[1] or run.env["data"][part] == other.env["data"][part]


def _right(run: Finished, part: str) -> Right:
    predictions = run.predictions()
    predicted = predictions[f"{part}_log_probs"].argmax(axis=1)
    return np.asarray(predicted == predictions[f"{part}_labels"])


def _machine(env: Mapping[str, Any]) -> str:
    machine = env["device"]
    threads = f"{machine['threads']} thread" + ("s" if machine["threads"] != 1 else "")
    return f"{env['processor']}, {machine['device']}, {threads}, {machine['precision']}"
