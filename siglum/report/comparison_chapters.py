"""The chapters of a comparison's page that every comparison has."""

from siglum.config import TrainConfig
from siglum.lab.compare import Comparison, Outcome
from siglum.lab.finding import shown
from siglum.report import comparison_plots as plots
from siglum.report import comparison_tables as tables
from siglum.report import words
from siglum.report.chapter import Chapter
from siglum.report.plot import SERIES
from siglum.report.repeat import command


def warning(comparison: Comparison) -> str:
    """Say what is missing or failed; "" where all is there."""
    missing = sum(outcome.missing for outcome in comparison.arms)
    failed = sum(len(outcome.failed) for outcome in comparison.arms)
    said = []
    if missing:
        said.append(f"{words.count(missing, 'training')} not finished yet")
    if failed:
        said.append(f"{words.count(failed, 'training')} failed")
    return f"{' and '.join(said)}: what is said here rests on the others." if said else ""


def arms_chapter(comparison: Comparison) -> Chapter:
    """Show how well each arm reads."""
    there = [outcome for outcome in comparison.arms if outcome.seeds]
    most = max(there, key=lambda o: o.figure(comparison.part).mean)
    least = min(there, key=lambda o: o.figure(comparison.part).mean)
    said = f"{most.name} reads most of the {comparison.kind} pictures, {_share(most, comparison)}"
    if most is not least:
        said += f"; {least.name} fewest, {_share(least, comparison)}"
    drawn = [plots.accuracies(comparison)]
    differences = plots.differences(comparison)
    caption = (
        "Left: large dots are means, small dots seeds, lines the 95 % intervals of the table below."
        if differences
        else "Large dots are means, small dots seeds, lines the 95 % intervals of the table below."
    )
    if differences:
        drawn.append(differences)
        caption += (
            " Right: differences of pairs on the same pictures with the same seeds; lines are 95 % "
            "intervals over seeds and pictures, or over pictures alone where there is one seed; "
            "grey where no difference is shown."
        )
    if len(there) > len(SERIES):
        caption += f" Of {len(there)} arms the best, the worst and those with published figures."
    return Chapter(
        "arms",
        "Arms",
        f"{said}.",
        tables=(tables.arms_table(comparison),),
        figures=(("", tuple(drawn)),),
        caption=caption,
    )


def _share(outcome: Outcome, comparison: Comparison) -> str:
    found = outcome.figure(comparison.part)
    said = f"{100 * found.mean:.2f}{words.SPACE}%"
    if found.low is None or found.high is None:
        return said
    return f"{said} (95 %: {100 * found.low:.2f} to {100 * found.high:.2f}, {found.interval})"


def learning_chapter(comparison: Comparison) -> Chapter | None:
    """Draw how the arms learned."""
    drawn = plots.curves(comparison)
    if not drawn:
        return None
    arms = [outcome for outcome in comparison.arms if outcome.middle]
    least = min(outcome.middle[-1].epoch for outcome in arms)
    at = {o.name: next(m for m in o.middle if m.epoch == least).accuracy for o in arms}
    if len(at) > 4:
        ends = sorted(at, key=lambda name: -at[name])
        at = {name: at[name] for name in (ends[0], ends[-1])}
    said = "; ".join(f"{name}: {100 * share:.2f} %" for name, share in at.items())
    seeds = sorted({len(outcome.curves) for outcome in arms})
    many = words.count(seeds[0], "seed")
    if len(seeds) > 1:
        many = f"{seeds[0]} to {seeds[-1]} seeds"
    bands = any(m.accuracy_band for outcome in arms for m in outcome.middle)
    caption = f"{many} an arm. "
    if seeds != [1]:
        caption += "Thin lines are seeds, thick ones their means. "
    if bands:
        caption += "Bands are 95 % intervals of the mean, by Student's t over the seeds. "
    elif seeds != [1]:
        caption += "No bands: fewer than 3 seeds. "
    if comparison.watched == "train":
        caption += (
            "Nothing was held out to validate: these are the pictures learned from, read during "
            "the epoch, under dropout, while the weights still moved. Seconds are of training."
        )
    else:
        caption += "Measured after every epoch; seconds are of training alone, validation left out."
    if any("val" in outcome.published for outcome in arms):
        caption += " Dashed lines are published figures."
    return Chapter(
        "learning",
        "How they learned",
        f"After {words.count(least, 'epoch')} {comparison.watching} accuracy: {said}.",
        figures=tuple((title, tuple(made)) for title, made in drawn),
        caption=caption,
    )


def reached_chapter(comparison: Comparison) -> Chapter | None:
    """Tabulate how fast the arms got to an accuracy."""
    if not any(outcome.middle for outcome in comparison.arms):
        return None
    title = "Time to an accuracy"
    if not comparison.levels:
        said = (
            "No level tells the arms apart: every run reached at its first look what any reached."
        )
        return Chapter("reached", title, said)
    whole = [
        i
        for i in range(len(comparison.levels))
        if all(not way[i].never for way in comparison.reached)
    ]
    index = whole[-1] if whole else 0
    there = [
        (outcome.name, way[index])
        for outcome, way in zip(comparison.arms, comparison.reached, strict=True)
        if outcome.curves
    ]
    told = []
    for name, way in sorted(there, key=lambda each: _first(each[1].examples))[:4]:
        epochs = [epoch for epoch in way.epochs if epoch is not None]
        part = f" ({way.never} of {len(way.epochs)} seeds never)" if way.never and epochs else ""
        mean = f"{sum(epochs) / len(epochs):.1f}" if epochs else "never"
        told.append(f"{name}: {mean}{part}")
    level = tables.level_name(comparison.levels[index])
    said = f"Epochs to {level} of the {comparison.watching} pictures. {'; '.join(told)}."
    return Chapter("reached", title, said, tables=(tables.reached_table(comparison),))


def _first(values: tuple[int | None, ...]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else float("inf")


def figures_chapter(comparison: Comparison) -> Chapter:
    """Tabulate the final figures."""
    there = [outcome for outcome in comparison.arms if outcome.loss]
    best = min(there, key=lambda o: o.loss.mean if o.loss else 0.0)
    assert best.loss is not None and best.ece is not None
    said = (
        f"{best.name} is the least surprised by the {comparison.kind} pictures: a loss of "
        f"{words.number(best.loss.mean)} nats, with a calibration error of "
        f"{words.number(best.ece.mean)}."
    )
    folded = (("Every run", tables.seeds_table(comparison)),)
    made = tables.figures_table(comparison)
    return Chapter("figures", "Final figures", said, tables=(made,), folded=folded)


def pairs_chapter(comparison: Comparison) -> Chapter | None:
    """Tabulate the paired tests."""
    if not comparison.pairs:
        return None
    tested = [pair for pair in comparison.pairs if pair.over_both]
    if not any(pair.seeds for pair in comparison.pairs):
        said = "No two arms have a seed in common, so that nothing can be paired."
    elif not tested:
        said = "With one seed in common only networks can be told apart, not arms."
    else:
        many = sum(map(shown, tested))
        said = f"{many or 'None'} of {words.count(len(tested), 'pair')} shows a difference."
        said = said.replace("shows", "show") if many > 1 else said
    folded = (
        ("Over seeds and over pictures alone", tables.apart_table(comparison)),
        ("Seed by seed", tables.mcnemar_table(comparison)),
    )
    made = tables.pairs_table(comparison)
    return Chapter("pairs", "Paired tests", said, tables=(made,), folded=folded)


def missing_chapter(comparison: Comparison) -> Chapter | None:
    """List what is not finished or failed."""
    said = []
    for outcome in comparison.arms:
        if outcome.missing:
            count = words.count(outcome.missing, "training")
            said.append(f"{outcome.name}: {count} not finished yet.")
        said += [
            f"{outcome.name}, seed {seed}: failed, because {reason}"
            for seed, reason in outcome.failed
        ]
    if not said:
        return None
    return Chapter("missing", "What is not here", warning(comparison), listed=tuple(said))


def settings_chapter(comparison: Comparison) -> Chapter:
    """Tabulate in what the arms differ."""
    total = len(comparison.shared) + len(comparison.differing)
    names = ", ".join(comparison.differing)
    said = f"The arms differ in {len(comparison.differing)} of {total} settings"
    return Chapter(
        "settings",
        "Settings",
        f"{said}: {names}." if names else f"{said}.",
        tables=(tables.differing_table(comparison),) * bool(names),
        folded=(("What all have in common", tables.shared_table(comparison)),),
    )


def repeat_chapter(comparison: Comparison) -> Chapter:
    """Give the commands that train all of it again."""
    commands = tuple(
        (outcome.name, "\n".join(command(TrainConfig(**config)) for config in outcome.configs))
        for outcome in comparison.arms
        if outcome.configs
    )
    lines = sum(len(outcome.configs) for outcome in comparison.arms)
    said = f"{words.count(lines, 'command')} trains all of it again.".replace(
        "commands trains", "commands train"
    )
    return Chapter("repeat", "To repeat it", said, commands=commands)
