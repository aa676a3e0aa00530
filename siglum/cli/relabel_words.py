"""What `siglum relabel` found, in sentences."""

import math
from collections.abc import Sequence

from siglum.cli.terminal import percent, printable
from siglum.lab.association import SHUFFLES, Association, Diagnosis
from siglum.lab.duplicates import QUALITY, Overlap, Scale
from siglum.lab.relabel import Validation
from siglum.stats import Rate


def diagnosis(
    found: Diagnosis,
    old_classes: Sequence[str],
    new_classes: Sequence[str],
    accuracy: Rate | None,
) -> list[str]:
    """Return what is wrong with the old labels, a sentence a line, the verdict first."""
    told = {
        "single": _single,
        "agree": _agree,
        "partly": _partly,
        "renamed": _renamed,
        "regrouped": _regrouped,
        "avoided": _avoided,
        "unrelated": _unrelated,
        "weak": _weak,
    }[found.kind](found, old_classes, new_classes)
    if found.kind in ("agree", "partly", "renamed", "avoided"):
        told.append(
            f"The network itself is wrong on {percent(1 - accuracy.value, 2)} of the run's "
            "validation pictures; where these here are of another kind, on more."
            if accuracy
            else "How often the network itself is wrong is not known: the run validated nothing."
        )
    return [printable(line) for line in told]


def _single(found: Diagnosis, old: Sequence[str], new: Sequence[str]) -> list[str]:
    return ["There is only one class on a side, so that nothing can be compared."]


def _agree(found: Diagnosis, old: Sequence[str], new: Sequence[str]) -> list[str]:
    return [
        f"Old and new labels agree: on {share(found.agreement)}. "
        "The network's own mistakes explain the rest."
    ]


def _partly(found: Diagnosis, old: Sequence[str], new: Sequence[str]) -> list[str]:
    return [
        f"The classes are right and part of the labels is wrong: {share(found.agreement)} agree. "
        f"It is as if {percent(found.noise)} of the old labels had been drawn by lot.",
        _rest(found, old, new),
    ]


def _renamed(found: Diagnosis, old: Sequence[str], new: Sequence[str]) -> list[str]:
    pairs = [
        f"{old[a]} is {new[b]}"
        for a, b in zip(found.best.old, found.best.new, strict=True)
        if old[a] != new[b] and found.counts[a, b]
    ]
    told = [
        f"The classes go under each other's names: {_listed(pairs)}. Under this exchange "
        f"{share(found.best.hits)} agree, without it {percent(found.agreement.value)}."
    ]
    if found.noise > 0.01:
        told.append(
            f"Beyond that, it is as if {percent(found.noise)} of them had been drawn by lot. "
            + _rest(found, old, new)
        )
    return told


def _regrouped(found: Diagnosis, old: Sequence[str], new: Sequence[str]) -> list[str]:
    told = []
    for a, several in found.merged:
        parts = [f"{new[b]} ({found.counts[a, b]:,})" for b in several]
        told.append(f"Old class {old[a]} holds several: {_listed(parts)}.")
    for b, several in found.split:
        parts = [f"{old[a]} ({found.counts[a, b]:,})" for a in several]
        told.append(f"New class {new[b]} is cut into several: {_listed(parts)}.")
    return [f"The classes are grouped in another way. {told[0]}", *told[1:]]


def _avoided(found: Diagnosis, old: Sequence[str], new: Sequence[str]) -> list[str]:
    worst, much = found.worst, found.association
    names = [(old[a], new[b]) for a, b in zip(worst.old, worst.new, strict=True)]
    if all(a == b for a, b in names):
        verdict = "Labels name what their pictures are not: nearly no picture is of its own label."
        where = "under the label of their own class"
    else:
        pairs = [f"{a} never {b}" for a, b in names]
        verdict = f"Every label avoids one class and says nothing else: {_listed(pairs)}."
        where = "in these pairs"
    bits = math.log2(len(new) / (len(new) - 1))
    return [
        f"{verdict} {share(worst.hits)} lie {where}; labels unrelated to the pictures would put "
        f"{percent(worst.expected)} there.",
        f"Apart from that they tell nothing: {percent(worst.left)} of the pictures lie elsewhere "
        f"than labels drawn by lot among the other classes would put them (shuffled labels: "
        f"{percent(much.shuffled_distance)}). To know one of {len(new)} classes that a picture is "
        f"not of is worth at most {bits:.3f} bits; found were {much.information:.3f}. "
        "(Complementary labels: Ishida et al. 2017, arXiv:1705.07541.)",
    ]


def _unrelated(found: Diagnosis, old: Sequence[str], new: Sequence[str]) -> list[str]:
    return [
        "Old labels have nothing to do with the pictures: they tell no more of the new ones than "
        f"shuffled labels do (p = {found.association.shuffled_p:.2f} by shuffling). "
        f"{share(found.agreement)} agree; chance gives {percent(found.expected)}."
    ]


def _weak(found: Diagnosis, old: Sequence[str], new: Sequence[str]) -> list[str]:
    best, much = found.best, found.association
    return [
        f"Old labels tell a little of the pictures ({much.information:.3f} of "
        f"{much.possible:.3f} bits), and in no simple way: the best exchange of names explains "
        f"{percent(best.explained, 0)} of it, and would make {share(best.hits)} agree."
    ]


def _rest(found: Diagnosis, old: Sequence[str], new: Sequence[str]) -> str:
    """Say whether the pictures outside the pairs are spread by chance, or gather."""
    best = found.best
    if found.gathered < 0.25:
        return "The wrong ones are spread over the classes as chance would spread them."
    outside = found.counts.copy()
    outside[list(best.old), list(best.new)] = 0
    places = [divmod(int(i), len(new)) for i in outside.ravel().argsort()[::-1][:3]]
    cells = [f"{old[a]} for {new[b]} ({outside[a, b]:,})" for a, b in places if outside[a, b]]
    return f"The wrong ones gather: {_listed(cells)}."


def association(found: Association) -> list[tuple[str, str]]:
    """Return the measures behind the verdict: (name, value)."""
    as_much = round(found.shuffled_p * (1 + SHUFFLES)) - 1
    p = f"p = {found.p:.2g}" if found.p > 0 else "p below 1e-300"
    return [
        (
            "information",
            f"{found.information:.4f} of {found.possible:.4f} bits (mutual); shuffled labels "
            f"have {found.shuffled:.4f}; {as_much} of {SHUFFLES} shuffles reach it",
        ),
        ("chi-square", f"{found.chi_square:,.1f} with {found.freedom} degrees of freedom, {p}"),
        ("Cramér's V", f"{found.cramers_v:.4f} (0 unrelated, 1 one decides the other)"),
    ]


def temperature(found: Validation) -> str:
    """Say how the probabilities were corrected."""
    before, after = found.ece
    if found.right.all():
        return (
            f"temperature 1, not fitted: no mistake among {len(found.right):,} validation pictures "
            f"(calibration error {before:.4f})"
        )
    return (
        f"temperature {found.temperature:.3f}, fitted to the validation pictures (calibration "
        f"error {before:.4f} before, {after:.4f} after)"
    )


def scale(found: Scale, source: str) -> list[str]:
    """Say how far copies lie apart, and how the threshold was chosen."""
    finite = found.others[found.others < math.inf]
    if not len(finite):
        return [f"A copy lies within {found.threshold:.1f} grey levels."]
    low, middle = sorted(finite)[len(finite) // 100], sorted(finite)[len(finite) // 2]
    return [
        f"A copy lies within {found.threshold:.1f} grey levels (root mean square a pixel): of "
        f"{len(found.jpeg):,} pictures of {printable(source)} saved as JPEG at quality {QUALITY}, "
        f"the farthest. "
        f"Different pictures there lie {middle:.1f} apart from their nearest (middle one; 1 % "
        f"below {low:.1f}); {found.false_matches:,} of {len(found.others):,} would be taken for "
        "copies wrongly."
    ]


def overlap(found: Overlap, source: str, trained_on: str) -> list[str]:
    """Say what lies in one part of another set, and what that means."""
    part = f"{source} ({found.part})"
    told = [
        f"{share(found.copied)} are copies of pictures of {part}; "
        f"{found.occurring.hits:,} of its {found.occurring.total:,} pictures occur."
    ]
    if not found.copied.hits:
        return [printable(line) for line in told]
    for labels, right in (("New", found.new), ("Old", found.old)):
        if right is not None:
            told.append(f"{labels} labels are those of the originals on {share(right)}.")
    if found.part == "test":
        told.append("Who trains on this set has seen them, and must not be tested on them.")
    elif found.new_seen is None:
        told.append(f"Whether the run was trained on them is not known; its data: {trained_on}.")
    elif found.new_seen.total and found.new_unseen is not None:
        told.append(
            "Where the run was trained on the originals its new labels are next to recall: "
            f"{share(found.new_seen)} are right. Where it was not they are reading: "
            f"{share(found.new_unseen)}."
        )
    if found.part != "test":
        told.append(
            f"A network trained on {part} has seen these very pictures: to compare it on this set "
            "with one trained from scratch is to compare them on its own training pictures."
        )
    return [printable(line) for line in told]


def share(rate: Rate) -> str:
    """Write a share with its counts and its interval."""
    if not rate.total:
        return "none"
    low, high = percent(rate.low, 2), percent(rate.high, 2)
    return f"{rate.hits:,} of {rate.total:,} ({percent(rate.value, 2)}; 95 %: {low} to {high})"


def _listed(parts: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(parts[:most])
    return f"{shown} and {len(parts) - most} more" if len(parts) > most else shown
