"""Relabelling: closed forms and planted truths."""

import math
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import chi2_contingency
from sklearn.metrics import mutual_info_score

from siglum import stats
from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError
from siglum.images import sources
from siglum.images.imageset import ImageSet
from siglum.lab import association, duplicates, relabel
from siglum.lab.association import Diagnosis, diagnose, quasi_independent
from siglum.lab.device import Device
from siglum.lab.runs import Run

DIGITS = tuple("0123456789")
N = 5000


def truth(count: int = N, classes: int = 10, seed: int = 0) -> NDArray[np.int64]:
    return np.random.RandomState(seed).randint(0, classes, count)


def mistaken(labels: NDArray[np.int64], share: float, seed: int = 1) -> NDArray[np.int64]:
    """Draw the labels of a share of the pictures by lot."""
    random, found = np.random.RandomState(seed), labels.copy()
    chosen = random.permutation(len(labels))[: round(share * len(labels))]
    found[chosen] = random.randint(0, 10, len(chosen))
    return found


def judge(old: NDArray[np.int64], new: NDArray[np.int64]) -> Diagnosis:
    """Diagnose for a network that is wrong on 1 %."""
    return diagnose(old, new, DIGITS, DIGITS, stats.wilson(4950, 5000))


def test_identical_labels_agree() -> None:
    found = judge(truth(), truth())

    assert found.kind == "agree"
    assert (found.agreement.hits, found.agreement.total) == (N, N)
    assert found.best.old == found.best.new
    assert found.association.cramers_v == pytest.approx(1)
    assert found.association.information == pytest.approx(found.association.possible)
    assert found.noise == 0


def test_the_networks_own_mistakes_are_not_held_against_the_labels() -> None:
    assert judge(truth(), mistaken(truth(), 0.01)).kind == "agree"


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_labels_drawn_by_lot_are_found_with_their_share(share: float) -> None:
    found = judge(mistaken(truth(), share), truth())

    assert found.kind == "partly"
    assert found.noise == pytest.approx(share, abs=0.03)
    assert found.best.explained > 0.9


def test_a_planted_permutation_is_found() -> None:
    order = np.random.RandomState(3).permutation(10)
    found = judge(mistaken(order[truth()], 0.05), mistaken(truth(), 0.01))

    assert found.kind == "renamed"
    assert dict(zip(found.best.new, found.best.old, strict=True)) == dict(enumerate(order))
    assert found.best.hits.value == pytest.approx(0.95, abs=0.02)
    assert found.agreement.value < 0.4


def test_a_permutation_is_found_below_much_noise() -> None:
    found = judge(mistaken((truth() + 1) % 10, 0.7), truth())

    assert found.kind == "renamed"
    assert all(a == (b + 1) % 10 for a, b in zip(found.best.old, found.best.new, strict=True))
    assert found.noise == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_relation_that_is_none_of_these_is_not_forced_into_one(share: float) -> None:
    tied = np.random.RandomState(5).rand(N) < share
    lot = truth(seed=6)

    for other in (truth() // 2, truth() % 3, truth() ** 2 % 10):
        assert judge(np.where(tied, other, lot), truth()).kind == "weak"


@pytest.mark.parametrize(("source", "target"), [(9, 4), (0, 1)])
def test_wrong_labels_that_gather_are_told_from_those_by_lot(source: int, target: int) -> None:
    old = truth()
    old[np.flatnonzero(truth() == source)[::3]] = target

    assert judge(old, truth()).gathered > 0.6
    assert judge(mistaken(truth(), 0.1), truth()).gathered < 0.1


def test_two_exchanged_classes_are_found_among_ten() -> None:
    old = truth()
    old[truth() == 3], old[truth() == 5] = 5, 3
    found = judge(old, truth())

    assert found.kind == "renamed"
    moved = [(a, b) for a, b in zip(found.best.old, found.best.new, strict=True) if a != b]
    assert moved == [(3, 5), (5, 3)]


@pytest.mark.parametrize("seed", range(5))
def test_independent_labels_are_said_to_be_unrelated(seed: int) -> None:
    found = judge(truth(seed=seed), truth(seed=seed + 100))

    assert found.kind == "unrelated"
    assert found.association.shuffled_p > 0.01
    assert found.association.information == pytest.approx(found.association.shuffled, rel=0.5)
    assert found.association.p > 1e-4


def test_labels_that_name_what_a_picture_is_not_are_found() -> None:
    old = (truth() + np.random.RandomState(4).randint(1, 10, N)) % 10  # never the class itself
    found = judge(old, mistaken(truth(), 0.01))

    assert found.kind == "avoided"
    assert found.worst.old == found.worst.new
    assert found.worst.hits.value < 0.01 and found.worst.expected == pytest.approx(0.1, abs=0.01)
    assert found.worst.explained > 0.9
    assert found.association.information == pytest.approx(math.log2(10 / 9), abs=0.02)


def test_merged_and_split_classes_are_found() -> None:
    old = truth()
    old[truth() == 5] = 3  # 3 holds 5 as well
    old[np.flatnonzero(truth() == 8)[::2]] = 5  # half of 8 goes under 5
    found = judge(mistaken(old, 0.05), truth())

    assert found.kind == "regrouped"
    assert found.merged == ((3, (3, 5)),)
    assert found.split == ((8, (5, 8)),)


def test_one_large_class_is_not_taken_for_all_merged() -> None:
    """Nine of ten pictures are of one class, so that much of anything lies in it."""
    old = np.where(np.random.RandomState(0).rand(N) < 0.9, 0, truth())
    new = np.where(np.random.RandomState(1).rand(N) < 0.3, truth(seed=7), old)

    assert judge(old, new).merged == ()


def test_one_class_cannot_be_compared() -> None:
    found = diagnose(np.zeros(9, np.int64), truth(9), ("a",), DIGITS, None)

    assert found.kind == "single"
    assert (found.association.p, found.association.cramers_v) == (1.0, 0.0)


def test_classes_of_other_names_are_paired() -> None:
    names = tuple("abcdefghij")
    found = diagnose(truth(), truth(), names, DIGITS, None)

    assert found.kind == "renamed"
    assert found.agreement.hits == 0 and found.best.hits.hits == N


def test_measures_are_scipys_and_scikit_learns() -> None:
    old, new = mistaken(truth(), 0.8), truth()
    counts = association.count(old, new, (10, 10))
    expected = chi2_contingency(counts, correction=False)

    found = association.associate(old, new, (10, 10))

    assert found.chi_square == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.freedom == expected.dof
    assert found.information == pytest.approx(mutual_info_score(old, new) / math.log(2))


def test_quasi_independence_keeps_the_totals_and_the_kept_cells() -> None:
    counts = association.count(mistaken(truth(), 0.8), truth(), (10, 10))
    kept = np.eye(10, dtype=bool)

    fitted = quasi_independent(counts, kept)

    np.testing.assert_array_equal(fitted[kept], counts[kept])
    np.testing.assert_allclose(fitted.sum(axis=0), counts.sum(axis=0))
    np.testing.assert_allclose(fitted.sum(axis=1), counts.sum(axis=1))


def predictions(scale: float, count: int = 20_000) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Log-probabilities (N, 7) whose labels are drawn from them at temperature 1 / scale."""
    random = np.random.RandomState(0)
    logits = 2 * random.normal(size=(count, 7))
    logits -= np.logaddexp.reduce(logits, axis=1, keepdims=True)
    labels = (np.exp(logits).cumsum(axis=1) < random.rand(count, 1)).sum(axis=1)
    return logits * scale, np.minimum(labels, 6)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_is_the_one_that_was_planted(scale: float) -> None:
    log_probs, labels = predictions(scale)

    assert stats.fit_temperature(log_probs, labels) == pytest.approx(scale, rel=0.03)


def test_the_temperature_is_scipys() -> None:
    log_probs, labels = predictions(2.2, count=300)

    def loss(log_t: float) -> float:
        return stats.negative_log_likelihood(relabel.calibrated(log_probs, math.exp(log_t)), labels)

    expected = minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})

    assert stats.fit_temperature(log_probs, labels) == pytest.approx(math.exp(expected.x), rel=1e-4)


def test_no_mistakes_teach_no_temperature() -> None:
    """Surer would be likelier without end."""
    assert stats.fit_temperature(np.log(np.array([[0.6, 0.4], [0.3, 0.7]])), np.array([0, 1])) == 1


def test_impossible_classes_do_not_break_the_temperature() -> None:
    log_probs = np.array([[0.0, -np.inf], [-0.1, -2.3], [-0.1, -2.3]])

    assert 0.01 <= stats.fit_temperature(log_probs, np.array([0, 0, 1])) <= 100


def test_labels_have_the_probability_of_the_likeliest_and_its_lead() -> None:
    found = relabel.label(np.log(np.array([[0.7, 0.2, 0.1], [0.25, 0.3, 0.45]])))

    assert found.labels.tolist() == [0, 2]
    assert found.probability.tolist() == pytest.approx([0.7, 0.45])
    assert found.margin.tolist() == pytest.approx([0.5, 0.15])


def validation(probability: list[float], right: list[int]) -> relabel.Validation:
    return relabel.Validation(1.0, np.array(probability), np.array(right, dtype=bool), (0, 0))


def test_a_threshold_is_the_lowest_that_keeps_its_precision() -> None:
    seen = validation([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0])

    def value(precision: float) -> tuple[float, int, int]:
        found = relabel.threshold_for(seen, precision)
        assert found is not None
        return found.value, found.found.hits, found.found.total

    assert value(1.0) == (0.8, 2, 2)
    assert value(0.75) == (0.6, 3, 4)  # 2 of 3 are fewer, and do not end the search
    assert value(0.6) == (0.0, 3, 5)  # everything: no threshold is needed


def test_equal_probabilities_are_kept_or_left_together() -> None:
    seen = validation([0.9, 0.9, 0.8], [1, 0, 0])

    assert relabel.threshold_for(seen, 1.0) is None
    found = relabel.threshold_for(seen, 0.5)
    assert found is not None and (found.value, found.found.total) == (0.9, 2)


@pytest.mark.parametrize(
    ("at_least", "precision", "message"),
    [
        (0.5, 0.9, "at_least must stand alone, got precision 0.9 too. Give one of them."),
        (1.5, None, "at_least must be in [0, 1], got 1.5."),
        (math.nan, None, "at_least must be in [0, 1], got nan."),
        (None, 0.0, "precision must be in (0, 1], got 0.0."),
        (
            None,
            0.9,
            "precision must be reached on the run's validation pictures, got 0.9: the surest of "
            "them are read wrong. Ask for less, or use --at-least.",
        ),
    ],
)
def test_a_threshold_out_of_bounds_is_refused(
    at_least: float | None, precision: float | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        relabel.chosen_threshold(validation([0.9, 0.8], [0, 1]), at_least, precision)


def test_precision_needs_validation_pictures() -> None:
    assert relabel.validate({}) is None
    assert relabel.chosen_threshold(None, None, None) == 0
    with pytest.raises(ConfigError, match=r"^precision must be measured on validation pictures"):
        relabel.chosen_threshold(None, None, 0.9)


def drawings(count: int, seed: int = 0, channels: int = 1) -> NDArray[np.uint8]:
    random = np.random.RandomState(seed)
    coarse = random.randint(0, 256, (count, channels, 4, 4))
    return coarse.repeat(4, axis=2).repeat(4, axis=3).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_planted_duplicates_are_found_exactly(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", 64)  # so that there are several
    theirs = drawings(300, channels=channels)
    mine = drawings(200, seed=1, channels=channels)
    planted = np.random.RandomState(2).permutation(300)[:50]
    mine[:50] = theirs[planted]
    mine[1, 0, 0, 0] ^= 1  # one grey level in one value
    set_of = lambda pixels: ImageSet.from_arrays(pixels, np.zeros(len(pixels), int), ("a",))  # noqa: E731

    found = duplicates.nearest(set_of(mine), set_of(theirs), channels)

    assert found.index[:50].tolist() == planted.tolist()
    assert found.distance[1] == pytest.approx(1 / math.sqrt(channels * 256))
    assert (np.delete(found.distance[:50], 1) == 0).all()
    gaps = mine[50:, None].astype(float) - theirs[None]
    slow = np.sqrt((gaps**2).mean(axis=(2, 3, 4)))
    np.testing.assert_array_equal(found.index[50:], slow.argmin(axis=1))
    np.testing.assert_allclose(found.distance[50:], slow.min(axis=1))


def test_the_scale_tells_copies_from_other_pictures() -> None:
    pictures = ImageSet.from_arrays(drawings(300), np.zeros(300, int), ("a",))

    scale = duplicates.measure_scale(pictures, 1)

    assert len(scale.jpeg) == len(scale.others) == 300
    assert 0 < scale.threshold == scale.jpeg.max() < scale.others.min()
    assert scale.false_matches == 0


def test_overlap_counts_copies_and_compares_their_labels() -> None:
    theirs = ImageSet.from_arrays(drawings(10), np.arange(10) % 2, ("a", "b"))
    found = duplicates.Nearest(np.array([0, 1, 1, 5]), np.array([0.0, 2.0, 1.0, 9.0]))
    seen = np.array([True] + [False] * 9)
    old, new = np.array(["x", "x", "x", "x"]), np.array(["a", "b", "a", "b"])

    lies = duplicates.overlap("all", theirs, found, 2.0, old=old, new=new, seen=seen)

    assert (lies.copied.hits, lies.copied.total) == (3, 4)
    assert (lies.occurring.hits, lies.occurring.total) == (2, 10)
    assert lies.new is not None and (lies.new.hits, lies.new.total) == (2, 3)
    assert lies.old is None  # no class of its name
    assert lies.new_seen is not None and (lies.new_seen.hits, lies.new_seen.total) == (1, 1)
    assert lies.new_unseen is not None and (lies.new_unseen.hits, lies.new_unseen.total) == (1, 2)


def test_a_run_labels_what_it_learned_nearly_as_it_was(tiny_run: Run, machine: Device) -> None:
    pictures = sources.load(tiny_run.config.data, "all", tiny_run.preprocess)
    validation = relabel.validate(tiny_run.predictions())

    found = relabel.relabel(tiny_run, pictures, machine, validation, 0.0)

    assert found.kept.all()
    assert (found.new.labels == pictures.labels).mean() > 0.9
    assert np.trace(found.diagnosis.counts) == (found.new.labels == pictures.labels).sum()
    with pytest.raises(DataError, match=r"^at least one picture of .* must reach the threshold 2"):
        relabel.relabel(tiny_run, pictures, machine, validation, 2.0)


def test_what_a_run_was_trained_on_is_known_by_its_pictures(tiny_run: Run) -> None:
    config = tiny_run.config
    learned = sources.load(config.data, "all", tiny_run.preprocess)
    assert config.test is not None
    other = sources.load(config.test, "all", tiny_run.preprocess)

    shown = relabel.shown(tiny_run, learned)

    assert shown is not None
    assert shown.sum() == tiny_run.env["counts"]["train"] < len(learned)
    assert relabel.shown(tiny_run, other) is None


def test_pictures_are_compared_as_small_as_they_are_seen_or_smaller() -> None:
    """Enlarged for the network, a picture would hide what saving it as JPEG did to it."""
    large = Preprocess(size=64, resize="glyph", position_channels=True)

    assert relabel.compared(large) == Preprocess(size=28, resize="glyph")
    assert relabel.compared(Preprocess(size=16)) == Preprocess(size=16)


def test_a_set_is_found_in_itself(tiny_run: Run, machine: Device) -> None:
    learned = sources.load(tiny_run.config.data, "all", tiny_run.preprocess)
    new = relabel.relabel(tiny_run, learned, machine, None, 0.0).new

    names = np.array(tiny_run.classes)[new.labels]
    seen = {"all": relabel.shown(tiny_run, learned)}
    small = sources.load(tiny_run.config.data, "all", relabel.compared(tiny_run.preprocess))

    found = relabel.compare(small, names, {"all": small}, seen)

    (part,) = found.parts
    assert part.copied.hits == len(learned) and part.quantiles[-1] == 0
    assert part.old is not None and part.old.hits == len(learned)
    assert part.new_seen is not None and part.new_unseen is not None
    assert part.new_seen.total + part.new_unseen.total == len(learned)
