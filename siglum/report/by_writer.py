"""Who is read well and who is not: a comparison's test pictures by writer."""

from siglum.lab.by_writer import ByWriter, Reading
from siglum.lab.compare import Comparison
from siglum.report import words
from siglum.report.chapter import Chapter
from siglum.report.comparison_plots import drawn
from siglum.report.comparison_tables import NONE, Table

MOST = 4  # arms in the table


def writers_chapter(comparison: Comparison) -> Chapter | None:
    """Tabulate right answers by writer, worst first; None where writers are not known."""
    found = comparison.writers
    if found is None:
        return None
    names = [arm.outcome.name for arm in drawn(comparison)][:MOST]
    chosen = [found.arms.index(name) for name in names]
    left_out = len([o for o in comparison.arms if o.seeds]) - len(chosen)
    caption = (
        "Right: pictures of the writer read right, the mean over the seeds. 95 %: Wilson's "
        "interval of that, rounded to whole pictures. The worst read writer comes first, over all "
        "arms. All writers: drawn again writer by writer (bootstrap), and at least as wide as "
        "Wilson's: what to expect of other writers, as far as these stand for them."
    )
    if left_out > 0:
        caption += f" {words.count(left_out, 'arm')} more are not shown."
    table = _table(found, chosen, names)
    return Chapter(
        "writers",
        "By writer",
        _finding(found, chosen[0]),
        tables=(Table(table.head, table.rows, caption=caption),),
    )


def _finding(found: ByWriter, arm: int) -> str:
    there = [(w, r) for w in found.writers if (r := w.readings[arm]) is not None]
    whole = sum(r.right >= w.pictures - 1e-9 for w, r in there)
    worst, reading = min(there, key=lambda each: each[1].right / each[0].pictures)
    low, high = found.intervals[arm] or (0.0, 1.0)
    right = sum(r.right for _, r in there) / sum(w.pictures for w, _ in there)
    said = (
        f"{found.arms[arm]} reads {100 * right:.1f}{words.SPACE}% of the pictures of "
        f"{words.count(len(there), 'writer')}; over other writers that is between "
        f"{100 * low:.0f} and {100 * high:.0f}{words.SPACE}%. It reads {whole or 'none'} of them "
        "without a mistake"
    )
    if reading.right < worst.pictures - 1e-9:
        said += f", and {worst.name} worst: {_count(reading.right)} of {worst.pictures}"
    return f"{said}."


def _table(found: ByWriter, chosen: list[int], names: list[str]) -> Table:
    head = ["writer", "pictures"]
    for name in names:
        head += [f"{name}: right", "95 %"]
    rows = [
        (
            writer.name,
            f"{writer.pictures:,}",
            *(cell for arm in chosen for cell in _cells(writer.readings[arm])),
        )
        for writer in found.writers
    ]
    last = ["all writers", f"{sum(w.pictures for w in found.writers):,}"]
    for arm in chosen:
        rights = [r.right for w in found.writers if (r := w.readings[arm]) is not None]
        over = found.intervals[arm]
        last += [_count(sum(rights)) if rights else NONE]
        last += [f"{100 * over[0]:.0f}–{100 * over[1]:.0f}" if over else NONE]
    return Table(tuple(head), (*rows, tuple(last)))


def _cells(reading: Reading | None) -> tuple[str, str]:
    if reading is None:
        return NONE, NONE
    return _count(reading.right), words.span(reading.rate, 0)


def _count(right: float) -> str:
    return f"{right:.1f}".removesuffix(".0")
