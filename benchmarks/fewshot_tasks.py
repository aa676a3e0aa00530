"""What is taught and what is then to be read, for every row of `benchmarks.fewshot`.

Whatever is drawn at random is seeded by its number, so that every backbone and head meets the same
tasks. Aims are those that the project set itself.
Shapes: N pictures, K classes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.fewshot_sets import (
    CHARACTERS,
    OTHER_SHAPES,
    SIGNS_62,
    Half,
    Pictures,
    alphabet,
    joined,
    seen,
)
from siglum.cli.classes import read_names
from siglum.recogniser.predict import Recogniser

RUNS = 20  # an alphabet
DRAWS = 10
RECIPES = Path(__file__).resolve().parents[1] / "docs" / "recipes"
DIGITS = tuple("0123456789")

By = Literal["writer", "run", "draw", "picture"]


@dataclass(frozen=True, eq=False)
class Task:
    """Signs to be taught, and other pictures of them to be read."""

    classes: tuple[str, ...]  # K; by a character's own name its print is known
    taught: Pictures  # of these classes; may be none
    shown: Pictures  # of these classes
    run: int = 0  # tasks with one number hang together


@dataclass(frozen=True)
class Measure:
    """What counts as right, of which pictures, and how much of it is wanted."""

    name: str = ""
    same: Mapping[str, str] = field(default_factory=dict)  # class -> group; any of a group is right
    drawn: bool | None = None  # only classes with drawings, or only those without
    least: float | None = None  # share that is to be right
    aim: float | None = None


PLAIN = (Measure(),)


@dataclass(frozen=True, eq=False)
class Setting:
    """A row of the table, or several rows of the same tasks."""

    set: str
    name: str
    tasks: list[Task]
    by: By  # what is drawn again for the interval
    measures: tuple[Measure, ...] = PLAIN
    error: bool = False  # whether to show what is wrong rather than what is right


def drawn(
    pictures: Pictures, shots: int, seed: int, by_writer: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw samples of each class, and say which pictures are left to be read.

    By writer, writers join one after the other until there are samples enough, and none of their
    pictures is left.

    Returns:
        Indices of the samples and of the rest, each ascending.
    """
    random = np.random.RandomState(seed)
    order = random.permutation(len(pictures))
    if by_writer:
        rank = {name: place for place, name in enumerate(random.permutation(_names(pictures)))}
        order = order[np.argsort([rank[name] for name in pictures.writers[order]], kind="stable")]
    sizes = np.zeros(len(pictures.classes), np.int64)
    taken, used = [], set()
    for row in order.tolist():
        label = pictures.labels[row]
        if sizes[label] < shots:
            sizes[label] += 1
            taken.append(row)
            used.add(pictures.writers[row])
    samples = np.sort(np.array(taken, np.int64))
    if by_writer:
        rest = np.flatnonzero(~np.isin(pictures.writers, sorted(used)))
    else:
        rest = np.setdiff1d(np.arange(len(pictures)), samples)
    return samples, rest


def omniglot(backbone: Recogniser, half: Half) -> Iterator[Setting]:
    """Name a picture of another drawer within an alphabet.

    Source of the protocol: Lake, Salakhutdinov, Tenenbaum 2015, "Human-level concept learning
    through probabilistic program induction", Science 350.
    """
    pictures = seen(backbone, "omniglot").half(half)
    aims = {(20, 1): (0.94, 0.97)}
    for ways, shots in ((20, 1), (5, 1), (20, 5), (5, 5)):
        least, aim = aims.get((ways, shots), (None, None))
        tasks = list(alphabet_tasks(pictures, ways, shots))
        yield Setting(
            "omniglot",
            f"{ways}-way {shots}-shot within an alphabet",
            tasks,
            "run",
            (Measure(least=least, aim=aim),),
            error=True,
        )


def alphabet_tasks(pictures: Pictures, ways: int, shots: int) -> Iterator[Task]:
    """Draw characters of an alphabet, people who draw samples of them, and one who is read."""
    names = np.array([alphabet(name) for name in pictures.classes])
    run = 0
    for place, name in enumerate(sorted(set(names[np.unique(pictures.labels)]))):
        for number in range(RUNS):
            random = np.random.RandomState(1000 * place + number)
            signs = random.permutation(np.flatnonzero(names == name))[:ways]
            people = random.permutation(np.unique(pictures.writers[names[pictures.labels] == name]))
            chosen = pictures.among([pictures.classes[sign] for sign in signs])
            taught = chosen.at(np.isin(chosen.writers, people[:shots]))
            shown = chosen.at(chosen.writers == people[shots])
            yield Task(chosen.classes, taught, shown, run)
            run += 1


def mnist(backbone: Recogniser, half: Half) -> Iterator[Setting]:
    """Read the test digits by print, by samples of the training part, and by both."""
    shown = seen(backbone, "mnist").half(half)
    pool = seen(backbone, "mnist samples").half(half)
    zero = (Measure(least=0.94, aim=0.97),)
    yield Setting("mnist", "zero-shot", [by_print(shown)], "picture", zero)
    for shots, least, aim in ((1, 0.88, 0.92), (10, 0.98, 0.988)):
        measure = (Measure(least=least, aim=aim),)
        sampled = [pool.at(drawn(pool, shots, seed)[0]) for seed in range(DRAWS)]
        for way, prefix in (("and print", ""), ("alone", "no print ")):
            tasks = [
                Task(one.classes, one, shown.renamed(prefix), run)
                for run, one in enumerate(one.renamed(prefix) for one in sampled)
            ]
            yield Setting("mnist", f"{_samples(shots)} {way}", tasks, "draw", measure)


def digits(backbone: Recogniser, half: Half) -> Iterator[Setting]:
    """Read drawn and photographed digits of many people by print."""
    shown = seen(backbone, "handdrawn digits").half(half)
    measure = (Measure(least=0.985, aim=0.995),)
    yield Setting("handdrawn digits", "zero-shot", [by_print(shown)], "writer", measure)


def greek(backbone: Recogniser, half: Half) -> Iterator[Setting]:
    """Read Greek letters of many people: by print, by one person's samples of three, by both."""
    whole = seen(backbone, "handdrawn greek")
    shown, letters = whole.half(half), seen(backbone, "greek_train")
    more = (*whole.classes, *(new for new, old in OTHER_SHAPES.items() if old in whole.classes))
    wanted = Measure(least=0.94, aim=0.97)
    lenient = (replace(wanted, name="either shape", same=OTHER_SHAPES),)
    for way, taught in (("zero-shot", shown.at(NOTHING)), ("27 letters and print", letters)):
        parts = (Measure("the 3", drawn=True), Measure("the 14", drawn=False))
        measures = (wanted, *(parts if len(taught) else ()))
        task = Task(whole.classes, taught.among(whole.classes), shown)
        yield Setting("handdrawn greek", way, [task], "writer", measures)
        both = Task(more, taught.among(more), shown.among(more))
        yield Setting("handdrawn greek", way, [both], "writer", lenient)
    three = letters.classes
    task = Task(three, letters, shown.among(three))
    measure = (Measure(least=0.98, aim=0.995),)
    yield Setting("αβγ", "zero-shot", [by_print(shown.among(three))], "writer")
    yield Setting("αβγ", "27 letters and print", [task], "writer")
    yield Setting("αβγ", "27 letters alone", [without_print(task)], "writer", measure)


def gcdb(backbone: Recogniser, half: Half) -> Iterator[Setting]:
    """Read Greek letters from forms, some of them broken and cut off, by print."""
    shown = seen(backbone, "GreekGCDB").half(half)
    yield Setting("GreekGCDB", "zero-shot", [by_print(shown)], "writer")
    more = (*shown.classes, *(new for new, old in OTHER_SHAPES.items() if old in shown.classes))
    both = Task(more, shown.at(NOTHING).among(more), shown.among(more))
    lenient = (Measure("either shape", OTHER_SHAPES),)
    yield Setting("GreekGCDB", "zero-shot", [both], "writer", lenient)


def chars74k(backbone: Recogniser, half: Half) -> Iterator[Setting]:
    """Read digits and letters that people drew on a tablet, by print and others' samples."""
    name, measures = "Chars74K", merges()
    pictures = seen(backbone, name).half(half)
    yield Setting(name, "zero-shot", [by_print(pictures)], "writer", measures)
    for shots in (1, 5, 10):
        tasks = writer_tasks(pictures, shots)
        yield Setting(name, f"{_samples(shots)} and print", tasks, "writer", measures)
    blind = [unplaced(task) for task in tasks]
    yield Setting(name, "10 samples and print, no size and place", blind, "writer", measures)
    alone = [without_print(task) for task in tasks]
    yield Setting(name, "10 samples alone", alone, "writer", measures)


def writer_tasks(pictures: Pictures, shots: int) -> list[Task]:
    """Teach samples of some people and show the pictures of all others, `DRAWS` times."""
    tasks = []
    for seed in range(DRAWS):
        samples, rest = drawn(pictures, shots, seed, by_writer=True)
        tasks.append(Task(pictures.classes, pictures.at(samples), pictures.at(rest), seed))
    return tasks


def photos(backbone: Recogniser, half: Half) -> Iterator[Setting]:
    """Read characters cut out of photos, each only once, by print."""
    shown = seen(backbone, "HandWritten62").half(half)
    yield Setting("HandWritten62", "zero-shot", [by_print(shown)], "picture", merges())


def cursive(backbone: Recogniser, half: Half) -> Iterator[Setting]:
    """Read characters cut out of running hand by print."""
    shown = seen(backbone, "CHoiCe").half(half)
    yield Setting("CHoiCe", "zero-shot", [by_print(shown)], "picture", merges())


def kmnist(backbone: Recogniser, half: Half) -> Iterator[Setting]:
    """Read old Japanese hands by samples of the same part."""
    pictures = seen(backbone, "kmnist").half(half)
    for shots in (1, 10):
        tasks = []
        for seed in range(DRAWS):
            samples, rest = drawn(pictures, shots, seed)
            tasks.append(Task(pictures.classes, pictures.at(samples), pictures.at(rest), seed))
        yield Setting("kmnist", f"{_samples(shots)} alone", tasks, "draw")


def mixed(backbone: Recogniser, half: Half) -> Iterator[Setting]:
    """Read where some classes were drawn and others are known by print alone."""
    parts = (Measure(), Measure("drawn", drawn=True), Measure("print only", drawn=False))
    shown, pool = seen(backbone, "mnist").half(half), seen(backbone, "mnist samples").half(half)
    tasks = []
    for seed in range(DRAWS):
        some = np.random.RandomState(seed).permutation(DIGITS)[:3].tolist()
        samples = pool.at(drawn(pool, 10, seed)[0])
        tasks.append(Task(shown.classes, samples.among(some).among(shown.classes), shown, seed))
    yield Setting("mixed", "mnist: 10 samples of 3 digits, 7 by print", tasks, "draw", parts)
    kana = seen(backbone, "kmnist").half(half)
    tasks = []
    for seed in range(DRAWS):
        some_kana, rest = drawn(kana, 3, seed)
        both = joined(shown, kana.at(rest))
        tasks.append(Task(both.classes, kana.at(some_kana).among(both.classes), both, seed))
    yield Setting("mixed", "mnist by print, kmnist by 3 samples", tasks, "draw", parts)
    pictures = seen(backbone, "Chars74K").half(half)
    tasks = []
    for task in writer_tasks(pictures, 5):
        some = np.random.RandomState(task.run).permutation(list(SIGNS_62))[:31].tolist()
        tasks.append(replace(task, taught=task.taught.among(some).among(task.classes)))
    folded = _merge("merge-62.csv")
    merged = tuple(
        replace(one, same=folded, name=f"{one.name} case merged".strip()) for one in parts
    )
    yield Setting("mixed", "Chars74K: 5 samples of 31, 31 by print", tasks, "writer", merged)


SETS: dict[str, Callable[[Recogniser, Half], Iterator[Setting]]] = {
    "omniglot": omniglot,
    "mnist": mnist,
    "digits": digits,
    "greek": greek,
    "gcdb": gcdb,
    "chars74k": chars74k,
    "photos": photos,
    "cursive": cursive,
    "kmnist": kmnist,
    "mixed": mixed,
}

NOTHING = np.empty(0, np.int64)


def by_print(shown: Pictures) -> Task:
    """Ask for what was never drawn."""
    return Task(shown.classes, shown.at(NOTHING), shown)


def without_print(task: Task) -> Task:
    """Give classes names that no print belongs to."""
    taught, shown = task.taught.renamed("no print "), task.shown.renamed("no print ")
    return replace(task, classes=taught.classes, taught=taught, shown=shown)


def unplaced(task: Task) -> Task:
    """Forget where ink was and how large."""

    def blind(pictures: Pictures) -> Pictures:
        return replace(pictures, places=np.full_like(pictures.places, np.nan))

    return replace(task, taught=blind(task.taught), shown=blind(task.shown))


def merges() -> tuple[Measure, ...]:
    """Return what counts as right among digits and letters: the sign, its shape, its shape or case.

    The files are those that `siglum evaluate --merge` takes for the same signs.
    """
    return (
        Measure(),
        Measure("0Oo 1Il merged", _merge("alike-62.csv")),
        Measure("case merged too", _merge("merge-62.csv")),
    )


def _merge(file: str) -> dict[str, str]:
    read = read_names(RECIPES / file, "merge")
    groups = {CHARACTERS[name]: group for name, group in read.items()}
    return groups | {f"no print {sign}": group for sign, group in groups.items()}


def _names(pictures: Pictures) -> Sequence[str]:
    return sorted(set(pictures.writers.tolist()))


def _samples(shots: int) -> str:
    return "1 sample" if shots == 1 else f"{shots} samples"
