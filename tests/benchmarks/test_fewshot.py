"""The few-shot benchmark measures what it says: planted answers, closed forms, small real runs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from small_backbone import CHARACTERS, a_backbone, drawn

from benchmarks import fewshot, fewshot_tune
from benchmarks.fewshot_heads import WAYS, Way, copies, even, towards
from benchmarks.fewshot_measure import certainty, counted, interval, loss_at, outcome, right, rows
from benchmarks.fewshot_sets import CHARACTERS as OF_FOLDERS
from benchmarks.fewshot_sets import OTHER_SHAPES, Pictures, joined, seen
from benchmarks.fewshot_strangers import Encounter, area, as_shipped, passed
from benchmarks.fewshot_tasks import (
    NOTHING,
    RUNS,
    Measure,
    Setting,
    Task,
    alphabet_tasks,
    by_print,
    merges,
    without_print,
    writer_tasks,
)
from benchmarks.fewshot_tasks import drawn as sampled
from siglum import stats
from siglum.images.normalise import NOTHING as NO_PLACE
from siglum.recogniser import backbone as backbones
from siglum.recogniser import bundle as bundles
from siglum.recogniser import class_vectors
from siglum.recogniser.lesson import Lesson, added, begin
from siglum.recogniser.teach import learn

BACKBONE = a_backbone()
LETTERS = ("a", "b", "α", "β")


def pictures(
    classes: tuple[str, ...] = LETTERS, people: int = 6, noise: float = 0.3, seed: int = 0
) -> Pictures:
    """A drawing of every class by every one of some people."""
    ink = np.concatenate([drawn(CHARACTERS.index(name), people, noise, seed) for name in classes])
    count = len(ink)
    return Pictures(
        classes=classes,
        labels=np.repeat(np.arange(len(classes)), people),
        ink=ink,
        places=np.full((count, 3), 0.5, np.float32),
        features=backbones.features(BACKBONE, ink),
        writers=np.array([f"w{number % people}" for number in range(count)]),
        ids=np.array([f"{seed} {number}" for number in range(count)]),
        tune=np.arange(count) % people % 2 == 0,
    )


def a_task(shots: int = 2, noise: float = 0.3) -> Task:
    return writer_tasks(pictures(noise=noise), shots)[0]


def test_a_task_is_taught_and_read_as_the_commands_do() -> None:
    task = a_task()
    found = outcome(BACKBONE, task)
    recogniser = learn(BACKBONE, lesson_by_hand(task)).recogniser

    reading = recogniser.read(task.shown.ink[:, None], task.shown.places)

    np.testing.assert_allclose(found.reading.probs, reading.probs, atol=1e-5)
    np.testing.assert_array_equal(found.reading.sets, reading.sets)
    np.testing.assert_array_equal(found.reading.none, reading.none)


def lesson_by_hand(task: Task) -> Lesson:
    """As a page would teach it: one drawing after the other."""
    place = replace(NO_PLACE, box=(0, 0, 8, 8), height=0.5, width=0.5, place=0.5)
    lesson = begin(BACKBONE, task.classes)
    for ink, label in zip(task.taught.ink, task.taught.labels.tolist(), strict=True):
        lesson = added(BACKBONE, lesson, ink, label, place)
    return lesson


def test_merged_classes_add_their_probabilities() -> None:
    shown = pictures(("a", "b", "c"), people=1)
    task = Task(shown.classes, shown.at(NOTHING), shown)
    probs = np.array([[0.3, 0.3, 0.4]] * 3)

    assert right(Measure(), task, probs).tolist() == [False, False, True]
    merged = Measure(same={"a": "ab", "b": "ab"})
    assert right(merged, task, probs).tolist() == [True, True, False]


def test_a_measure_may_be_about_drawn_classes_or_the_others() -> None:
    task = a_task()
    some = task.taught.among(("b", "α")).among(task.classes)
    task = replace(task, taught=some)

    with_drawings = np.isin(task.shown.labels, [1, 2])
    assert (counted(Measure(drawn=True), task) == with_drawings).all()
    assert (counted(Measure(drawn=False), task) == ~with_drawings).all()
    assert counted(Measure(), task).all()


def test_an_interval_knows_that_all_right_of_a_few_is_not_all_right() -> None:
    groups = np.repeat(["p", "q", "r"], 4)

    assert interval(np.ones(12), groups, 12) == (stats.wilson(12, 12).low, 1.0)
    torn = np.repeat([1.0, 1.0, 0.0], 4)  # one person is never read right
    low, high = interval(torn, groups, 12)
    assert (low, high) == (0.0, 1.0) == stats.cluster_bootstrap(torn, np.repeat([0, 1, 2], 4))


def test_a_row_counts_different_pictures_and_pools_the_draws() -> None:
    tasks = writer_tasks(pictures(), 2)
    setting = Setting("letters", "2 samples", tasks, "writer", (Measure(least=0.5, aim=0.9),))
    outcomes = [outcome(BACKBONE, task) for task in tasks]

    (row,) = rows(setting, outcomes)

    hits = [right(Measure(), one.task, one.reading.probs) for one in outcomes]
    assert row.share == pytest.approx(np.concatenate(hits).mean())
    assert (row.pictures, row.tasks, row.aim) == (24, len(tasks), 0.9)
    assert row.low <= row.share <= row.high
    spread = rows(replace(setting, by="draw"), outcomes)[0]
    assert (spread.low, spread.high) == (min(map(np.mean, hits)), max(map(np.mean, hits)))


def test_certainty_finds_the_temperature_that_would_have_been_best() -> None:
    tasks = writer_tasks(pictures(noise=0.6), 2)
    setting = Setting("letters", "2 samples", tasks, "writer")
    outcomes = [outcome(BACKBONE, task) for task in tasks]

    found = certainty(setting, outcomes)

    logits = np.concatenate([one.logits for one in outcomes])
    labels = np.concatenate([one.task.shown.labels for one in outcomes])
    losses = [loss_at(logits, labels, found.best * factor) for factor in (0.9, 1, 1.1)]
    assert losses[1] == min(losses) == pytest.approx(found.best_loss)
    assert found.best_loss <= found.loss + 1e-9
    sets = np.concatenate([one.reading.sets for one in outcomes])
    assert found.covered == pytest.approx(sets[np.arange(len(labels)), labels].mean())
    assert found.size == pytest.approx(sets.sum(axis=1).mean())


def test_who_draws_samples_is_not_read() -> None:
    whole = pictures()
    for task in writer_tasks(whole, 2):
        assert not set(task.taught.writers) & set(task.shown.writers)
        assert set(task.shown.writers) | set(task.taught.writers) == set(whole.writers)
        assert (np.bincount(task.taught.labels) == 2).all()


def test_samples_are_drawn_by_their_seed_and_leave_the_rest() -> None:
    whole = pictures()
    samples, rest = sampled(whole, 3, seed=5)

    assert (np.bincount(whole.labels[samples]) == 3).all()
    assert sorted([*samples, *rest]) == list(range(len(whole)))
    assert (sampled(whole, 3, seed=5)[0] == samples).all()
    assert any((sampled(whole, 3, seed=other)[0] != samples).any() for other in range(3))


def test_an_alphabet_is_drawn_by_one_person_and_read_from_another() -> None:
    whole = pictures(("a", "b", "c", "α", "β"))
    whole = replace(whole, classes=("L/1", "L/2", "L/3", "G/1", "G/2"))
    alphabets = [whole.classes[label][0] for label in whole.labels]
    people = [f"{one} {who}" for one, who in zip(alphabets, whole.writers, strict=True)]
    whole = replace(whole, writers=np.array(people))

    tasks = list(alphabet_tasks(whole, ways=3, shots=1))

    assert len(tasks) == len({task.run for task in tasks}) == 2 * RUNS
    assert {len(task.classes) for task in tasks} == {2, 3}
    for task in tasks:
        assert len({name[0] for name in task.classes}) == 1
        assert (
            sorted(task.taught.labels) == sorted(task.shown.labels) == [*range(len(task.classes))]
        )
        (who,), (other,) = set(task.taught.writers), set(task.shown.writers)
        assert who != other


def test_without_print_nothing_is_known_of_a_name() -> None:
    task = without_print(a_task())

    assert not backbones.prints(BACKBONE, task.classes).any()
    assert backbones.prints(BACKBONE, by_print(pictures()).classes).any(axis=1).all()


def test_sets_are_joined_and_chosen_from_by_names() -> None:
    both = joined(pictures(("a", "b")), pictures(("b", "c"), seed=1))

    assert both.classes == ("a", "b", "c")
    assert np.bincount(both.labels).tolist() == [6, 12, 6]
    chosen = both.among(("c", "a"))
    assert np.bincount(chosen.labels).tolist() == [6, 6]
    np.testing.assert_array_equal(chosen.at(chosen.labels == 1).ink, pictures(("a",)).ink)
    assert len(both.half("tune")) + len(both.half("report")) == len(both.half("all")) == 24


def test_every_character_of_the_table_is_one_character() -> None:
    assert all(len(sign) == 1 for sign in OF_FOLDERS.values())
    assert len(set(OF_FOLDERS.values())) == 24 + 62
    assert (OF_FOLDERS["Sample011"], OF_FOLDERS["Sample037"], OF_FOLDERS["phi"]) == ("A", "a", "φ")
    assert set(OTHER_SHAPES.values()) <= set(OF_FOLDERS.values())


def test_what_is_merged_is_what_the_recipes_merge() -> None:
    plain, alike, case = merges()

    assert plain.same == {}
    assert alike.same["0"] == alike.same["o"] == alike.same["O"] != alike.same["Q"]
    assert alike.same["x"] != alike.same["X"]
    assert case.same["x"] == case.same["X"] == case.same["no print x"]


def test_the_area_is_that_of_the_reference() -> None:
    random = np.random.RandomState(0)
    true, strange = random.randint(0, 9, 50) / 4, random.randint(3, 12, 70) / 4  # with ties

    expected = roc_auc_score([0] * 50 + [1] * 70, [*true, *strange])

    assert area(true, strange) == pytest.approx(expected)


def test_strangers_pass_below_the_strangest_true_signs() -> None:
    true = np.arange(100.0)

    assert passed(true, np.array([50.0, 97.0, 98.5, 200.0]), refused=0.02) == 0.5
    assert passed(true, true + 1000) == 0


def test_strangers_are_told_from_what_was_taught() -> None:
    known, others = pictures(people=20, noise=0.1), pictures(("c", "γ", "d"), people=20, noise=0.1)

    found = as_shipped(BACKBONE, "letters; others", [Encounter(by_print(known), others)])

    assert (found.true, found.strangers, found.promised) == (80, 60, False)
    assert found.area > 0.95
    none = outcome(BACKBONE, by_print(known)).reading.none
    assert found.refused == none.mean()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_goes_by_print_alone_where_nothing_was_drawn(way: Way) -> None:
    shown, prints = pictures(), backbones.prints(BACKBONE, LETTERS)

    score = way(shown.features[:0], shown.labels[:0], prints)

    answers = score(shown.features).argmax(axis=1)
    assert (answers == (shown.features @ prints.T).argmax(axis=1)).all()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_learns_signs_without_print(way: Way) -> None:
    taught, shown = pictures(people=5), pictures(people=25, seed=1)
    nothing = np.zeros((len(LETTERS), taught.features.shape[1]), np.float32)

    answers = way(taught.features, taught.labels, nothing)(shown.features).argmax(axis=1)

    assert (answers == shown.labels).mean() > 0.85


def test_ridge_towards_one_is_the_ridge_that_is_shipped_before_its_length_is_1() -> None:
    taught, prints = pictures(people=3), backbones.prints(BACKBONE, LETTERS)

    vectors = towards(taught.features, taught.labels, prints, 2.0, usual=1.0)

    shipped = class_vectors.ridge(taught.features, taught.labels, prints, 2.0, 1.0).head.vectors
    np.testing.assert_allclose(class_vectors.unit(vectors), shipped, atol=1e-5)


def test_drawn_classes_are_brought_to_what_print_scores_of_its_own() -> None:
    taught, prints = (
        pictures(("a", "b"), people=5).among(LETTERS),
        backbones.prints(BACKBONE, LETTERS),
    )
    x, labels = taught.features, taught.labels
    fitted = class_vectors.means(x, labels, prints, 1.0, 1.0)

    vectors = even(fitted, x, labels, prints)

    np.testing.assert_array_equal(vectors[2:], fitted.head.vectors[2:])
    by_print = (x * prints[labels]).sum(axis=1).mean()
    own = fitted.left_out[np.arange(len(x)), labels].mean()
    ratio = np.linalg.norm(vectors[:2], axis=1) / np.linalg.norm(fitted.head.vectors[:2], axis=1)
    np.testing.assert_allclose(ratio * own, by_print, rtol=1e-5)


def test_copies_are_other_pictures_of_the_same_ink() -> None:
    ink = np.zeros((2, 40, 40), np.uint8)
    ink[0, 10:30, 18:22] = ink[1, 18:22, 10:30] = 255

    made = copies(ink, 3)

    assert made.shape == (2, 3, 40, 40)
    np.testing.assert_array_equal(made, copies(ink, 3))
    mass = made.sum(axis=(2, 3)) / ink.sum(axis=(1, 2))[:, None]
    assert (np.abs(mass - 1) < 0.3).all()
    assert all((one != ink[row]).any() for row in range(2) for one in made[row])
    across = made.max(axis=2).astype(bool).sum(axis=2)  # columns with ink
    assert (across[0] < across[1]).all()


def test_the_commands_print_their_tables(
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On real letters, with a backbone that knows four of them by print."""
    monkeypatch.setenv("SIGLUM_DATA", str(data_folder))
    bundles.save(BACKBONE.bundle, tmp_path / "a.siglum")
    bundles.save(BACKBONE.bundle, tmp_path / "b.siglum")
    both = ["--backbone", str(tmp_path / "a.siglum"), "--backbone", str(tmp_path / "b.siglum")]
    found = {}
    for half in ("tune", "report", "all"):
        file = tmp_path / f"{half}.json"
        flags = ["--set", "gcdb", "--half", half, "--json", str(file)]
        monkeypatch.setattr("sys.argv", ["fewshot", *both, *flags])
        fewshot.main()
        found[half] = json.loads(file.read_text())["backbones"]
    printed = capsys.readouterr().out

    of_all = found["all"][str(tmp_path / "a.siglum")]["rows"][0]
    assert of_all["set"] == "GreekGCDB" and of_all["pictures"] == 579
    assert found["all"][str(tmp_path / "b.siglum")]["rows"][0] == of_all
    halves = [found[half][str(tmp_path / "a.siglum")]["rows"][0] for half in ("tune", "report")]
    assert sum(row["pictures"] for row in halves) == 579
    hits = [round(row["share"] * row["pictures"]) for row in halves]
    assert sum(hits) == round(of_all["share"] * 579)
    assert f"{100 * of_all['share']:.1f} (" in printed and "bootstrap over writers" in printed


def test_the_tables_for_choosing_name_what_they_compare(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tasks = writer_tasks(pictures(), 2)
    settings = [Setting("letters", "2 samples", tasks, "writer", (Measure(), Measure("all")))]
    ways = WAYS[:2]

    fewshot_tune.compare(BACKBONE, settings, ways)
    fewshot_tune.with_copies(BACKBONE, settings, ways)
    fewshot_tune.temperatures(
        BACKBONE, [Setting("letters", "print", [by_print(pictures())], "run")]
    )

    printed = capsys.readouterr().out
    found = fewshot_tune.result(BACKBONE, settings[0], ways[0])
    line = next(line for line in printed.splitlines() if line.startswith(ways[0].name))
    assert line.split()[-2:] == [f"{100 * wrong:.1f}" for wrong in found.wrong]
    assert " 2  letters: 2 samples, all" in printed and "letters: print" in printed


def test_halves_share_no_writer(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGLUM_DATA", str(data_folder))
    whole = seen(BACKBONE, "GreekGCDB")

    tune, report = whole.half("tune"), whole.half("report")

    assert len(tune) > 200 and len(report) > 200
    assert not set(tune.writers) & set(report.writers)
    assert set(whole.classes) == set("αβδεηγικλμνωοφπξ")
