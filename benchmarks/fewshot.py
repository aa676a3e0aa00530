"""Few-shot and zero-shot accuracy of a backbone on real handwriting.

    python -m benchmarks.fewshot
    python -m benchmarks.fewshot --set mnist --half tune --backbone mine.siglum

Data sets lie under SIGLUM_DATA. Every task is taught as `siglum teach` does it and read as `siglum
predict` does; features are computed once per set. `tune` is the half on which settings may be
chosen, `report` the other: every other alphabet by name; writers and forms with even numbers; the
first half of each class, or of all images. Drawings that the backbone was trained on are left out.
Shapes: N images, S the side of the normalised ink, D features, K classes.
"""

import argparse
import re
import string
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from siglum import stats
from siglum.cli.terminal import print_table, read_renames
from siglum.images import splits
from siglum.images.cache import rebuild
from siglum.images.imageset import ImageSet
from siglum.images.sources import load
from siglum.recogniser import calibration, fit, predict
from siglum.recogniser.bundle import Samples
from siglum.recogniser.predict import Recogniser
from tools import exit_on_error

EPISODES, DRAWS, STRANGERS = 20, 10, 5
RECIPES = Path(__file__).resolve().parents[1] / "docs" / "recipes"
DIGITS = tuple(string.digits)
SIGNS_62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma "
    "tau upsilon phi chi psi omega"
)
CHARACTERS = (  # of the folders of all sets
    dict(zip(LETTERS.split(), "αβγδεζηθικλμνξοπρστυφχψω", strict=True))
    | {f"Sample{number:03}": sign for number, sign in enumerate(SIGNS_62, start=1)}
    | {f"digit_{sign}": sign for sign in string.digits}
    | {f"upper_{sign}": sign for sign in string.ascii_uppercase}
    | {f"lower_{sign}": sign for sign in string.ascii_lowercase}
)
VARIANT_SHAPES = {"ς": "σ", "ϑ": "θ", "ϕ": "φ", "ϵ": "ε"}  # people write either
UNLIKE_DIGITS = "ACEFHJKMNPQRTUVWXYabcdefhikmnprtuvwxyj"
NO_FONT = "not in fonts "  # prefix of class names that have no font prototype


@dataclass(frozen=True)
class Source:
    """Where a set lies, and how its writers are named."""

    specs: tuple[str, ...]
    part: str = "test"
    writer: str = ""  # regular expression for the number of a writer or form in a file name
    prefix: str = ""  # of class names for which no font prototype is to be used
    max_per_class: int = 0  # images in each half; 0 for all


SOURCES = {
    "omniglot": Source(
        tuple(f"archive:omniglot/images_background_small{n}.zip" for n in (1, 2)),
        writer=r"_(\d+)\.png$",
    ),
    "mnist": Source(("idx:MNIST/raw",)),
    "mnist samples": Source(("idx:MNIST/raw",), part="train", max_per_class=100),
    "kmnist": Source(("idx:KMNIST/raw",), prefix="KMNIST "),
    "digits": Source(("archive:handdrawn/digits_writers.zip",), writer=r"/w(\d+)_"),
    "greek": Source(("archive:handdrawn/greek_writers.zip",), writer=r"/w(\d+)_"),
    "greek_train": Source(("archive:greek_train.zip",)),
    "GreekGCDB": Source(("archive:GreekGCDB.zip",), writer=r"form_(\d+)"),
    "Chars74K": Source(("archive:Chars74K/trainPart1_256x192.zip",), writer=r"-(\d+)\.png$"),
    "HandWritten62": Source(("archive:HandWritten62.zip",)),
    "CHoiCe": Source(("archive:CHoiCe.zip",)),
}


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images and their features."""

    classes: tuple[str, ...]  # K
    labels: NDArray[np.int64]  # (N,), in [0, K)
    ink: NDArray[np.uint8]  # (N, S, S)
    positions: NDArray[np.float32]  # (N, 3): height, width and vertical position of the ink
    features: NDArray[np.float32]  # (N, D), of length 1
    writers: NDArray[Any]  # (N,) names; each image's own where the writer is unknown
    ids: NDArray[Any]  # (N,) unique names
    tune: NDArray[np.bool_]  # (N,)

    COLUMNS = ("labels", "ink", "positions", "features", "writers", "ids", "tune")

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: Any) -> "Images":
        """Return the images at some rows, or where a mask is true."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.COLUMNS})

    def half(self, half: str) -> "Images":
        """Return the images of a half."""
        return self if half == "all" else self.at(self.tune == (half == "tune"))

    def among(self, classes: Sequence[str]) -> "Images":
        """Return the images of some classes, with labels in their order."""
        index = {name: label for label, name in enumerate(classes)}
        labels = np.array([index.get(name, -1) for name in self.classes])[self.labels]
        return replace(self.at(labels >= 0), classes=tuple(classes), labels=labels[labels >= 0])

    def without_fonts(self) -> "Images":
        """Return them under names that have no font prototype."""
        return replace(self, classes=tuple(NO_FONT + name for name in self.classes))


def concat(first: Images, second: Images) -> Images:
    """Return the images of two sets, with the classes of both."""
    classes = tuple(dict.fromkeys([*first.classes, *second.classes]))
    both = first.among(classes), second.among(classes)
    columns = {n: np.concatenate([getattr(one, n) for one in both]) for n in Images.COLUMNS}
    return Images(classes, **columns)


def alphabet(name: str) -> str:
    """Return the alphabet of an Omniglot class."""
    return name.partition("/")[0]


@cache
def images(backbone: Recogniser, name: str, half: str = "all") -> Images:
    """Load a half of a set, or all of it, with its features."""
    source = SOURCES[name]
    preprocess = backbone.bundle.preprocess.model_copy(update={"position_channels": True})
    recipe = backbone.bundle.card.settings  # of the pretraining
    parts: list[Images] = []
    for spec in source.specs:
        if source.max_per_class:
            data = load(spec, source.part)
            if count := recipe.get("mnist"):  # drawings of each digit that it was trained on
                trained = splits.per_class(data.labels, count, recipe["seed"], data.classes)
                data = data.subset(np.delete(np.arange(len(data)), trained))
            data = rebuild(_thin(data, source.max_per_class), preprocess)
        else:
            data = load(spec, source.part, preprocess)
        part = _without_features(name, source, data).half(half)
        if name == "omniglot":  # two alphabets are in both archives, identical to the pixel
            before = parts[0].classes if parts else ()
            trained_on = recipe.get("omniglot", ())
            new = [c for c in part.classes if c not in before and alphabet(c) not in trained_on]
            part = part.among(new)
        parts.append(part)
    whole = parts[0] if len(parts) == 1 else concat(*parts)
    return replace(whole, features=backbone.features(whole.ink)) if len(whole) else whole


def _thin(data: ImageSet, count: int) -> ImageSet:
    """Draw `count` images of each class from each half."""
    random, rows = np.random.RandomState(0), []
    first = np.arange(len(data)) < len(data) // 2
    for label in range(len(data.classes)):
        for half in (first, ~first):
            rows.append(random.permutation(np.flatnonzero((data.labels == label) & half))[:count])
    return data.subset(np.sort(np.concatenate(rows)))


def _without_features(name: str, source: Source, data: ImageSet) -> Images:
    planes = data.images
    ids = np.array([f"{name} {spot}" for spot in (data.files or range(len(data)))])
    matches = [re.search(source.writer, file) for file in data.files or ()] if source.writer else []
    numbers = [int(match[1]) for match in matches if match]
    writers, first = ids, np.arange(len(data)) < len(data) // 2
    if name == "omniglot":  # drawers are numbered within each alphabet
        alphabets = [alphabet(data.classes[label]) for label in data.labels]
        writers = np.array([f"{a} {n:02}" for a, n in zip(alphabets, numbers, strict=True)])
        order = sorted(set(alphabets))
        tune = np.array([order.index(a) % 2 == 0 for a in alphabets])
    elif numbers:
        writers, tune = np.array(list(map(str, numbers))), np.array(numbers) % 2 == 0
    elif data.files is None and not source.max_per_class:
        tune = first
    else:  # the first half of each class
        tune = np.zeros(len(data), dtype=bool)
        for label in range(len(data.classes)):
            members = np.flatnonzero(data.labels == label)
            tune[members[: source.max_per_class or len(members) // 2]] = True
    whole = Images(
        classes=tuple(CHARACTERS.get(sign, source.prefix + sign) for sign in data.classes),
        labels=data.labels,
        ink=planes[:, 0],
        positions=planes[:, 1:, 0, 0].astype(np.float32) / np.float32(255),
        features=np.zeros((len(data), 0), np.float32),
        writers=writers,
        ids=ids,
        tune=tune,
    )
    if name != "HandWritten62":
        return whole
    assert data.originals is not None  # exact copies within a class count once
    keys = np.stack([data.originals["digest"][data.rows], data.labels.astype(np.uint64)], axis=1)
    return whole.at(np.sort(np.unique(keys, axis=0, return_index=True)[1]))


@dataclass(frozen=True, eq=False)
class Task:
    """Signs to teach, and other images of them to read."""

    classes: tuple[str, ...]
    samples: Images  # may be empty
    queries: Images
    group: int = 0  # tasks of one group are not independent


@dataclass(frozen=True)
class Measure:
    """Which answers are correct, and which images are measured."""

    name: str = ""
    merge: Mapping[str, str] = field(default_factory=dict)  # class -> group
    with_samples: bool | None = None  # only classes with samples, or only those without


@dataclass(frozen=True, eq=False)
class Setting:
    """Tasks measured together: one or more rows of the table."""

    set: str
    name: str
    tasks: list[Task]
    interval: str  # over "writers", "groups", "images", or "range" of the draws
    measures: tuple[Measure, ...] = (Measure(),)


def zero_shot(queries: Images) -> Task:
    return Task(queries.classes, queries.at(slice(0)), queries)


def without_fonts(task: Task) -> Task:
    samples, queries = task.samples.without_fonts(), task.queries.without_fonts()
    return replace(task, classes=samples.classes, samples=samples, queries=queries)


def draw(
    data: Images, shots: int, seed: int, by_writer: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw samples of each class; return their rows and those left to read.

    By writer, writers join one after the other, and none of their images is left to read.
    """
    random = np.random.RandomState(seed)
    order = random.permutation(len(data))
    if by_writer:
        names = random.permutation(sorted(set(data.writers.tolist())))
        rank = {name: index for index, name in enumerate(names)}
        order = order[np.argsort([rank[name] for name in data.writers[order]], kind="stable")]
    counts, rows = np.zeros(len(data.classes), np.int64), []
    for row in order.tolist():
        if counts[data.labels[row]] < shots:
            counts[data.labels[row]] += 1
            rows.append(row)
    samples = np.sort(np.array(rows, np.int64))
    if by_writer:
        return samples, np.flatnonzero(~np.isin(data.writers, data.writers[samples]))
    return samples, np.setdiff1d(np.arange(len(data)), samples)


def drawn_tasks(
    data: Images, shots: int, by_writer: bool = False, draws: int = DRAWS
) -> list[Task]:
    """Draw samples several times, and read the rest each time."""
    tasks = []
    for seed in range(draws):
        samples, rest = draw(data, shots, seed, by_writer)
        tasks.append(Task(data.classes, data.at(samples), data.at(rest), seed))
    return tasks


def episodes(data: Images, ways: int, shots: int) -> Iterator[Task]:
    """Draw characters of an alphabet, drawers to learn from and one to read.

    Source: Lake, Salakhutdinov, Tenenbaum 2015, "Human-level concept learning through probabilistic
    program induction", Science 350 (20 characters within an alphabet).
    """
    names, group = np.array([alphabet(name) for name in data.classes]), 0
    for index, name in enumerate(sorted(set(names[np.unique(data.labels)]))):
        for number in range(EPISODES):
            random = np.random.RandomState(1000 * index + number)
            signs = random.permutation(np.flatnonzero(names == name))[:ways]
            people = random.permutation(np.unique(data.writers[names[data.labels] == name]))
            chosen = data.among([data.classes[sign] for sign in signs])
            samples = chosen.at(np.isin(chosen.writers, people[:shots]))
            queries = chosen.at(chosen.writers == people[shots])
            yield Task(chosen.classes, samples, queries, group)
            group += 1


def merges() -> tuple[Measure, ...]:
    """Return measures for digits and letters: exact; similar shapes merged; case merged too."""
    return (
        Measure(),
        Measure("0Oo 1Il merged", _groups("alike-62.csv")),
        Measure("case merged too", _groups("merge-62.csv")),
    )


def _groups(file: str) -> dict[str, str]:
    groups = {CHARACTERS[n]: group for n, group in read_renames(RECIPES / file, "merge").items()}
    return groups | {NO_FONT + sign: group for sign, group in groups.items()}


def settings(name: str, get: Callable[[str], Images]) -> Iterator[Setting]:
    """Yield the settings of a set; `get` returns a set's images of the half that is measured."""
    if name == "omniglot":
        for ways, shots in ((20, 1), (5, 1), (20, 5), (5, 5)):
            tasks = list(episodes(get(name), ways, shots))
            way = f"{ways}-way {shots}-shot"
            if tasks:
                yield Setting(name, f"{way} within an alphabet", tasks, "groups")
            if (ways, shots) == (20, 1):
                for letters, own in groupby(tasks, lambda task: alphabet(task.classes[0])):
                    yield Setting(name, f"{way}, {letters}", list(own), "groups")
    elif name == "mnist":
        queries, pool = get(name), get("mnist samples")
        yield Setting(name, "zero-shot", [zero_shot(queries)], "images")
        for shots in (1, 10):
            tasks = [
                Task(queries.classes, pool.at(draw(pool, shots, seed)[0]), queries, seed)
                for seed in range(DRAWS)
            ]
            alone = [without_fonts(task) for task in tasks]
            yield Setting(name, f"{shots} samples and fonts", tasks, "range")
            yield Setting(name, f"{shots} samples alone", alone, "range")
    elif name == "digits":
        yield Setting("hand-drawn digits", "zero-shot", [zero_shot(get(name))], "writers")
    elif name == "greek":
        yield from _greek(get(name), get("greek_train:all"))
    elif name == "GreekGCDB":
        yield Setting(name, "zero-shot", [zero_shot(get(name))], "writers")
    elif name == "Chars74K":
        data = get(name)
        yield Setting(name, "zero-shot", [zero_shot(data)], "writers", merges())
        for shots in (1, 5, 10):
            tasks = drawn_tasks(data, shots, by_writer=True)
            yield Setting(name, f"{shots} samples and fonts", tasks, "writers", merges())
        alone = [without_fonts(task) for task in tasks]
        yield Setting(name, "10 samples alone", alone, "writers", merges())
    elif name in ("HandWritten62", "CHoiCe"):
        yield Setting(name, "zero-shot", [zero_shot(get(name))], "images", merges())
    elif name == "kmnist":
        for shots in (1, 10):
            tasks = drawn_tasks(get(name), shots)
            yield Setting(name, f"{shots} samples alone", tasks, "range")
    elif name == "mixed":
        yield from _mixed(get)


def _greek(queries: Images, letters: Images) -> Iterator[Setting]:
    more = (*queries.classes, *(v for v, old in VARIANT_SHAPES.items() if old in queries.classes))
    either = (Measure("either shape", VARIANT_SHAPES),)
    name = "hand-drawn Greek"
    for way, samples in (("zero-shot", queries.at(slice(0))), ("27 letters and fonts", letters)):
        task = Task(queries.classes, samples.among(queries.classes), queries)
        yield Setting(name, way, [task], "writers")
        task = Task(more, samples.among(more), queries.among(more))
        yield Setting(name, way, [task], "writers", either)
    queries = queries.among(letters.classes)
    task = Task(letters.classes, letters, queries)
    yield Setting("αβγ", "zero-shot", [zero_shot(queries)], "writers")
    yield Setting("αβγ", "27 letters and fonts", [task], "writers")
    yield Setting("αβγ", "27 letters alone", [without_fonts(task)], "writers")


def _mixed(get: Callable[[str], Images]) -> Iterator[Setting]:
    """Some classes have samples, the others are known from fonts alone."""
    parts = (
        Measure(),
        Measure("with samples", with_samples=True),
        Measure("fonts only", with_samples=False),
    )
    queries, pool, tasks = get("mnist"), get("mnist samples"), []
    for seed in range(DRAWS):
        some = np.random.RandomState(seed).permutation(DIGITS)[:3].tolist()
        samples = pool.at(draw(pool, 10, seed)[0]).among(some).among(queries.classes)
        tasks.append(Task(queries.classes, samples, queries, seed))
    yield Setting("mixed", "MNIST: 10 samples of 3 digits, 7 from fonts", tasks, "range", parts)
    kana, tasks = get("kmnist"), []
    for seed in range(DRAWS):
        rows, rest = draw(kana, 3, seed)
        both = concat(queries, kana.at(rest))
        tasks.append(Task(both.classes, kana.at(rows).among(both.classes), both, seed))
    yield Setting("mixed", "MNIST from fonts, KMNIST from 3 samples", tasks, "range", parts)


SETS = (
    *("omniglot", "mnist", "digits", "greek", "GreekGCDB"),
    *("Chars74K", "HandWritten62", "CHoiCe", "kmnist", "mixed"),
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Predictions of a taught recogniser for the queries of a task."""

    task: Task
    ood_scores: NDArray[np.float64]  # (Q,)
    result: calibration.Predictions


def outcome(backbone: Recogniser, task: Task, strangers: Images | None = None) -> Outcome:
    """Teach a task and read its queries, or images of other signs, from their features."""
    samples = Samples(task.samples.ink, task.samples.labels, task.samples.positions)
    fitted = fit.fit(backbone, task.classes, samples, task.samples.features)
    queries = task.queries if strangers is None else strangers
    inputs, num_classes = (queries.features, queries.positions), len(task.classes)
    logits, nearest = fitted.recogniser.head.logits_and_nearest(*inputs)
    scores = calibration.ood_score(logits, num_classes, nearest)
    return Outcome(task, scores, fitted.recogniser.predict_features(*inputs))


def correct(measure: Measure, one: Outcome) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which queries (Q,) are read correctly, and which the measure counts."""
    groups = [measure.merge.get(name, name) for name in one.task.classes]
    index = np.unique(groups, return_inverse=True)[1]
    probs = one.result.probs @ (index[:, None] == np.arange(index.max() + 1))
    labels = one.task.queries.labels
    has_samples = np.isin(labels, one.task.samples.labels)
    wanted = measure.with_samples
    counted = np.ones(len(labels), dtype=bool) if wanted is None else has_samples == wanted
    return probs.argmax(axis=1) == index[labels], counted


def interval(
    hits: NDArray[np.float64], groups: NDArray[np.integer], unique: int
) -> tuple[float, float]:
    """Return the 95 % interval of a share of hits that are not independent within groups.

    At least as wide as Wilson's for `unique` images, since groups that agree have no spread.

    Source: Field, Welsh 2007, "Bootstrapping clustered data", Journal of the Royal Statistical
    Society B 69.
    """
    sizes, sums = np.bincount(groups), np.bincount(groups, weights=hits)
    count = len(sizes)
    draws = np.random.RandomState(0).multinomial(count, np.full(count, 1 / count), size=2000)
    low, high = np.quantile((draws @ sums) / (draws @ sizes), (0.025, 0.975)).tolist()
    wilson = stats.wilson(round(float(hits.mean()) * unique), unique)
    return min(low, wilson.low), max(high, wilson.high)


def row(setting: Setting, measure: Measure, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the accuracy of a setting with its 95 % interval."""
    hits, queries = [], []
    for one in outcomes:
        right, counted = correct(measure, one)
        hits.append(right[counted])
        queries.append(one.task.queries.at(counted))
    whole = np.concatenate(hits).astype(np.float64)
    unique = len(np.unique(np.concatenate([one.ids for one in queries])))
    if setting.interval == "range":
        shares = [float(one.mean()) for one in hits]
        low, high = min(shares), max(shares)
    else:
        groups = {
            "writers": [one.writers for one in queries],
            "images": [one.ids for one in queries],
            "groups": [
                np.full(len(q), o.task.group) for q, o in zip(queries, outcomes, strict=True)
            ],
        }[setting.interval]
        numbers = np.unique(np.concatenate(groups), return_inverse=True)[1]
        low, high = interval(whole, numbers, unique)
    name = ", ".join(part for part in (setting.name, measure.name) if part)
    return {
        "set": setting.set,
        "setting": name,
        "accuracy": float(whole.mean()),
        "low": low,
        "high": high,
        "images": unique,
        "tasks": len(outcomes),
        "interval": setting.interval,
    }


def certainty(setting: Setting, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return how honest the probabilities, prediction sets and rejections of a setting are."""
    labels = [one.task.queries.labels for one in outcomes]
    own = [(one.result, np.arange(len(y)), y) for one, y in zip(outcomes, labels, strict=True)]
    probs = np.concatenate([result.probs[rows, y] for result, rows, y in own])
    return {
        "set": setting.set,
        "setting": setting.name,
        "loss": float(-np.log(np.maximum(probs, 1e-12)).mean()),
        "coverage": float(np.concatenate([r.sets[rows, y] for r, rows, y in own]).mean()),
        "set size": float(np.concatenate([r.sets.sum(axis=1) for r, _, _ in own]).mean()),
        "rejected": float(np.concatenate([r.rejected for r, _, _ in own]).mean()),
    }


def encounters(get: Callable[[str], Images]) -> Iterator[tuple[str, list[tuple[Task, Images]]]]:
    """Yield tasks together with images of signs that nobody taught."""
    letters, seeds = get("greek"), range(STRANGERS)
    orders = [np.random.RandomState(seed).permutation(letters.classes).tolist() for seed in seeds]
    halves = [(letters.among(order[:10]), letters.among(order[10:])) for order in orders]
    fonts = [(zero_shot(ours), others) for ours, others in halves]
    yield "10 Greek letters from fonts; the other 7", fonts
    pairs = [(drawn_tasks(ours, 5, by_writer=True, draws=1)[0], others) for ours, others in halves]
    yield "10 Greek letters, 5 samples and fonts; the other 7", pairs
    digits, kana = (
        data.at(np.linspace(0, len(data) - 1, min(500, len(data))).astype(int))
        for data in (get("mnist"), get("kmnist"))
    )
    yield "MNIST from fonts; KMNIST", [(zero_shot(digits), kana)]
    pool = get("mnist samples")
    tasks = [Task(digits.classes, pool.at(draw(pool, 10, seed)[0]), digits) for seed in seeds]
    yield "MNIST, 10 samples and fonts; KMNIST", [(task, kana) for task in tasks]
    tasks = drawn_tasks(kana, 10, draws=STRANGERS)
    yield "KMNIST, 10 samples; MNIST", [(task, digits) for task in tasks]
    signs = get("Chars74K")
    ours, others = signs.among(DIGITS), signs.among([*UNLIKE_DIGITS])
    yield "Chars74K digits from fonts; letters unlike them", [(zero_shot(ours), others)]
    tasks = drawn_tasks(ours, 10, by_writer=True, draws=STRANGERS)
    yield "Chars74K digits, 10 samples and fonts; letters unlike them", _unseen(tasks, others)
    signs = get("omniglot")
    names = np.array([alphabet(name) for name in signs.classes])
    for shots in (1, 5):
        pairs = []
        for index, name in enumerate(sorted(set(names[np.unique(signs.labels)]))):
            for number in seeds:
                random = np.random.RandomState(1000 * index + number)
                order = random.permutation(np.flatnonzero(names == name))
                classes = [signs.classes[sign] for sign in order]
                ours = signs.among(classes[: len(order) // 2])
                people = random.permutation(np.unique(ours.writers))[:shots]
                own = np.isin(ours.writers, people)
                task = Task(ours.classes, ours.at(own), ours.at(~own), number)
                pairs += _unseen([task], signs.among(classes[len(order) // 2 :]))
        if pairs:
            yield f"half an Omniglot alphabet, {shots} samples; its other half", pairs


def _unseen(tasks: Sequence[Task], others: Images) -> list[tuple[Task, Images]]:
    """Pair tasks with images by writers of whom they have no samples."""
    return [(one, others.at(~np.isin(others.writers, one.samples.writers))) for one in tasks]


def rejection(backbone: Recogniser, name: str, pairs: list[tuple[Task, Images]]) -> dict[str, Any]:
    """Return how well strangers are told from taught signs, mean over the tasks."""
    rows = []
    for task, strangers in pairs:
        both = outcome(backbone, task), outcome(backbone, task, strangers)
        true, other = (one.ood_scores for one in both)
        stranger = np.repeat([0, 1], [len(true), len(other)])
        area = roc_auc_score(stranger, np.concatenate([true, other]))
        accepted_at_2 = (other <= np.quantile(true, 0.98)).mean()
        rejected = [one.result.rejected.mean() for one in both]
        rows.append((area, accepted_at_2, rejected[0], 1 - rejected[1]))
    area, at_2, refused, accepted = np.mean(rows, axis=0).tolist()
    keys = ("setting", "ROC area", "accepted at 2 %", "true signs rejected", "strangers accepted")
    return dict(zip(keys, (name, area, at_2, refused, accepted), strict=True))


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table: shares in per cent, losses in nats per image."""

    def cell(key: str, value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return f"{value:.2f}" if key in ("loss", "set size") else f"{100 * value:.1f}"

    if rows:
        print_table(list(rows[0]), [[cell(*item) for item in row.items()] for row in rows])
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", type=Path, help="default: the shipped one")
    parser.add_argument("--set", action="append", choices=[*SETS, "strangers"])
    parser.add_argument("--half", choices=["tune", "report", "all"], default="report")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # unreadable files are listed in the sets' README
    path = options.backbone
    backbone = predict.open_backbone(path) if path else predict.default_backbone()

    def get(name: str) -> Images:
        name, _, whole = name.partition(":")
        return images(backbone, name, whole or options.half)

    table, sure, strange = [], [], []
    for name in options.set or [*SETS, "strangers"]:
        if name == "strangers":
            strange = [rejection(backbone, *pair) for pair in encounters(get)]
            continue
        for setting in settings(name, get):
            outcomes = [outcome(backbone, task) for task in setting.tasks]
            table += [row(setting, measure, outcomes) for measure in setting.measures]
            sure.append(certainty(setting, outcomes))
    drawings = backbone.bundle.card.data.get("drawings") or "none"
    print(f"half: {options.half}; people's drawings in training: {drawings}\n")
    for rows in (table, sure, strange):
        show(rows)


if __name__ == "__main__":
    with exit_on_error():
        main()
