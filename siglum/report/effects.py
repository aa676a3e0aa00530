"""What each setting of a full grid does, and how much of the best cell is luck."""

from siglum.lab.compare import KINDS, Comparison
from siglum.lab.effects import Effects, Share
from siglum.report import effects_plots as plots
from siglum.report import words
from siglum.report.chapter import Chapter
from siglum.report.comparison_tables import NONE, Table, signed
from siglum.report.settings_words import setting

LINES = 8  # of an interaction plot


def effects_chapter(comparison: Comparison) -> Chapter | None:
    """Draw and tabulate main effects and interactions; say why where they cannot be."""
    effects = comparison.effects
    if effects is None:
        if not comparison.no_effects:
            return None
        return Chapter("effects", "What each setting does", comparison.no_effects)
    kind = comparison.kind
    figures = [(_spans(effects), tuple(plots.main_effects(effects, kind)))]
    if pair := _widest_pair(effects):
        figures.append((_together(effects, pair), (plots.interaction(effects, pair, kind),)))
    figures.append(
        (f"{kind.capitalize()} accuracy of every cell, %", tuple(plots.heat_maps(effects)))
    )
    seeds = ", ".join(map(str, effects.seeds))
    caption = f"On the {kind} pictures; every cell with {_seeds(effects)} ({seeds}). "
    if effects.noise is None:
        caption += "One seed tells nothing of chance: no intervals. "
    else:
        caption += (
            "Bars: 95 % intervals of how far a value lies from the mean of all cells, by what is "
            "left over. "
        )
    caption += "A frame in a heat map: its best cell."
    return Chapter(
        "effects",
        "What each setting does",
        _best(effects, kind),
        tables=(_shares_table(effects), _levels_table(effects, kind)),
        figures=tuple(figures),
        beside="effects",
        caption=caption,
        listed=tuple(_luck(effects)),
    )


def effects_finding(effects: Effects, kind: str) -> str:
    """Say which settings make the accuracies differ, and what is left to chance."""
    main = [share for share in effects.shares if len(share.settings) == 1]
    main.sort(key=lambda share: -share.share)
    told = []
    for share in main:
        levels = effects.main[effects.settings.index(share.settings[0])]
        ordered = sorted(levels, key=lambda level: level.mean)
        said = f"{setting(share.settings[0])} {_percent(share.share)}"
        said += f" ({_accuracy(ordered[0].mean)} at {ordered[0].value}"
        said += f" to {_accuracy(ordered[-1].mean)} at {ordered[-1].value}"
        told.append(said + (")" if (share.adjusted or 0.0) < 0.05 else "; not shown)"))
    together = sum(share.share for share in effects.shares if len(share.settings) > 1)
    rest = f"what they do together {_percent(together)}"
    if effects.noise is None:
        rest += ", chance included, since there is one seed"
    else:
        rest += f", seeds and chance {_percent(effects.of_seeds + effects.left)}"
    return f"Of the variance of {kind} accuracy: {', '.join(told)}; {rest}."


def _seeds(effects: Effects) -> str:
    return words.count(len(effects.seeds), "seed")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}{words.SPACE}%" if share >= 0.01 else f"under 1{words.SPACE}%"


def _accuracy(share: float) -> str:
    return f"{100 * share:.2f}{words.SPACE}%"


def _spans(effects: Effects) -> str:
    """Return the title of the main effects: how far each setting moves the mean."""
    told = []
    for name, levels in zip(effects.settings, effects.main, strict=True):
        means = [level.mean for level in levels]
        told.append((max(means) - min(means), setting(name)))
    told.sort(reverse=True)
    said = ", ".join(f"{name} by {100 * span:.2f}" for span, name in told)
    return f"How far each setting moves the mean, points: {said}"


def _widest_pair(effects: Effects) -> tuple[int, int] | None:
    """Return the two settings that do most together: lines, then across."""
    pairs = [share for share in effects.shares if len(share.settings) == 2]
    for share in sorted(pairs, key=lambda share: -share.share):
        first, second = (effects.settings.index(name) for name in share.settings)
        for lines, across in ((first, second), (second, first)):
            if len(effects.values[lines]) <= LINES and effects.numbers[across]:
                return lines, across
        if len(effects.values[first]) <= LINES:
            return first, second
    return None


def _together(effects: Effects, pair: tuple[int, int]) -> str:
    names = [setting(effects.settings[i]) for i in pair]
    share = next(
        s for s in effects.shares if set(s.settings) == {effects.settings[i] for i in pair}
    )
    said = f"{names[0].capitalize()} and {names[1]} together: {_percent(share.share)}"
    if share.adjusted is None:
        return f"{said} of the variance, chance included"
    return (
        f"{said} of the variance, {'more than' if share.adjusted < 0.05 else 'no more than'} chance"
    )


def _name(share: Share) -> str:
    return " × ".join(map(setting, share.settings))


def _shares_table(effects: Effects) -> Table:
    rows = [
        (
            _name(share),
            f"{100 * share.share:.1f}",
            NONE if share.by_chance is None else f"{100 * share.by_chance:.1f}",
            NONE if share.p is None else f"{share.p:.2g}",
            NONE if share.adjusted is None else f"{share.adjusted:.2g}",
        )
        for share in effects.shares
    ]
    if effects.noise is not None:
        rows.append(("seeds, in all cells alike", f"{100 * effects.of_seeds:.1f}", *(NONE,) * 3))
    rows.append(
        ("left over: a single training's chance", f"{100 * effects.left:.1f}", *(NONE,) * 3)
    )
    caption = (
        "Shares of the variance of all runs' accuracies (analysis of variance, balanced, seeds as "
        "blocks). By chance: what a setting that did nothing would make, on average. p: F test "
        "against what is left over; Holm: adjusted for the number of tests in this table."
    )
    head = ("what varies", "share, %", "by chance, %", "p", "Holm")
    return Table(head, tuple(rows), caption=caption)


def _levels_table(effects: Effects, kind: str) -> Table:
    rows = []
    for name, levels in zip(effects.settings, effects.main, strict=True):
        for level in levels:
            half = level.half
            over = (
                NONE
                if half is None
                else f"{signed(level.effect - half)} to {signed(level.effect + half)}"
            )
            rows.append(
                (setting(name), level.value, f"{100 * level.mean:.2f}", signed(level.effect), over)
            )
    head = ("setting", "value", f"mean {kind}, %", "against the mean of all, points", "95 %")
    return Table(head, tuple(rows), texts=2, caption="Means over all values of the other settings.")


def _best(effects: Effects, kind: str) -> str:
    best, by = effects.best, KINDS[effects.best.by]
    said = f"Best cell by {by}: {best.name}, {_accuracy(best.chosen)}"
    if best.by != _part_of(kind):
        said += f"; {kind}: {_accuracy(best.part.mean)}"
        if best.part.low is not None and best.part.high is not None:
            said += f" (95 %: {_accuracy(best.part.low)} to {_accuracy(best.part.high)})"
    return f"{said}."


def _luck(effects: Effects) -> list[str]:
    """Say how much of the best cell may be luck."""
    best, count, by, lines = effects.best, effects.cells.size, KINDS[effects.best.by], []
    if best.excess is not None and effects.noise is not None:
        lines.append(
            f"The best of {count} cells is favoured by luck: of {count} that were "
            f"all equal, the best would lie {100 * best.excess:.2f} points above their mean on the "
            f"{by} pictures, by {_seeds(effects)} each."
        )
        tries = [(f"all {count} cells", count)]
        if len(effects.settings) > 2:
            inside = count // len(effects.values[0])
            tries.insert(0, (f"the {inside} cells of one {setting(effects.settings[0])}", inside))
        for name, number in tries:
            lines.append(
                f"A single training varies by {100 * effects.noise:.2f} points (standard "
                f"deviation). If {name} were one and the same network, trained once each, the best "
                f"would lie {100 * (effects.luck(number) or 0):.2f} points above their mean."
            )
    return lines


def _part_of(kind: str) -> str:
    """Return the key of what effects are measured on."""
    return next(part for part, name in KINDS.items() if name == kind)
