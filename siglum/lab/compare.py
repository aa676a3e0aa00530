"""Compare variants, which are ways to train: accuracy, differences, and how certain both are.

Chance enters twice: another seed gives another network, another test set holds other images. The
interval of a difference adds both variances (degrees of freedom by Satterthwaite) and is never
narrower than Student's t interval over the seeds. In a cross-validation the trainings share images;
then the corrected t interval over the folds takes the place of that over the seeds.

Sources: Clark 1973, "The language-as-fixed-effect fallacy"; Nadeau, Bengio 2003, "Inference for the
generalization error"; Field, Welsh 2007, "Bootstrapping clustered data"; Holm 1979, "A simple
sequentially rejective multiple test procedure".
Shapes: N images.
"""

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap
from scipy.stats import t as student_t

from siglum import stats
from siglum.config import TrainConfig
from siglum.errors import ConfigError, RunError
from siglum.formatting import count, percent
from siglum.lab.runs import Run
from siglum.lab.training import Epoch

PARTS = {"test": "test", "val": "validation"}  # compared on the first that every run has
MAX_ALL_PAIRS = 6  # variants; of more, each is compared with the best and with the first
MAX_LISTED_PAIRS = 5  # in the headline
SIGNIFICANT = 0.05
EPSILON = 1e-12  # shares that are closer differ by rounding only


@dataclass(frozen=True)
class Variant:
    """One way to train: the finished runs of each seed, one or one per fold."""

    name: str
    runs: tuple[tuple[Run, ...], ...]
    failed: tuple[tuple[int, str], ...] = ()  # seed and reason
    missing: int = 0  # runs that are not finished
    published: Mapping[str, float] = field(default_factory=dict)  # train, val, test; fractions
    levels: Mapping[str, Any] = field(default_factory=dict)  # its values in a study's grid


@dataclass(frozen=True)
class Estimate:
    """The mean over the seeds of a variant with its 95 % interval; NaN without a finished seed."""

    values: tuple[float, ...]  # one per seed
    mean: float
    std: float | None = None  # over seeds; None for one seed
    low: float | None = None
    high: float | None = None
    method: str = "none"  # of the interval: "Student t, 3 seeds", "Wilson, 1,000 images"


@dataclass(frozen=True)
class Difference:
    """The accuracy of one variant minus another's, on the same images with the same seeds."""

    first: str
    second: str
    seeds: int = 0  # that both variants have
    images: int = 0
    accuracies: tuple[float, float] = (math.nan, math.nan)  # means over these seeds
    value: float = math.nan
    low: float = math.nan  # of the 95 % interval: over seeds and images, or images for one seed
    high: float = math.nan
    p: float | None = None  # after Holm's correction for all pairs; None for one seed

    @property
    def is_significant(self) -> bool:
        """Whether 0 lies outside the interval and p is below 0.05."""
        return self.p is not None and not self.low <= 0 <= self.high and self.p < SIGNIFICANT


@dataclass(frozen=True)
class VariantSummary:
    """The measurements of a variant."""

    name: str
    seeds: tuple[int, ...]
    runs: tuple[str, ...]  # folders
    configs: tuple[dict[str, Any], ...]  # of the runs
    parameters: int | None
    accuracy: dict[str, Estimate]  # train (last epoch, augmented images), val, test
    loss: Estimate  # negative log-likelihood on the compared part, nats
    ece: Estimate  # expected calibration error
    seconds: Estimate  # of training
    total_seconds: Estimate  # with the training of the parents; NaN where that is unknown
    writer_ci: tuple[float, float] | None  # of the accuracy on other writers' images
    epochs: tuple[tuple[Epoch, ...], ...]  # of each seed
    published: dict[str, float]
    levels: dict[str, Any]
    failed: tuple[tuple[int, str], ...]
    missing: int


@dataclass(frozen=True)
class Effects:
    """Analysis of variance of a complete grid: what each setting does to accuracy."""

    means: dict[str, dict[str, float]]  # setting -> value -> mean over all other settings
    margins: dict[str, float]  # setting -> half the 95 % interval of a mean's effect
    shares: dict[str, float]  # setting, interaction, "seed", "residual" -> share of the variance
    p_values: dict[str, float]  # setting, interaction -> p of its F test after Holm's correction


@dataclass(frozen=True)
class Comparison:
    """All results; `dataclasses.asdict` makes it ready for JSON."""

    part: str  # a key of PARTS
    variants: tuple[VariantSummary, ...]  # in the order given, also those without a finished run
    pairs: tuple[Difference, ...]
    shared: dict[str, Any]  # settings that all runs have in common
    differing: tuple[str, ...]  # names of the other settings, without the seed
    machines: tuple[str, ...]  # seconds are comparable if this is one
    effects: Effects | None

    @property
    def finished(self) -> list[VariantSummary]:
        """The variants with at least one finished seed."""
        return [variant for variant in self.variants if variant.seeds]

    @property
    def best(self) -> VariantSummary:
        """The best variant by validation accuracy, or by the compared part if one has none."""
        part = "val" if all("val" in v.accuracy for v in self.finished) else self.part
        return max(self.finished, key=lambda v: v.accuracy[part].mean)


def group_runs(runs: Iterable[Run]) -> list[Variant]:
    """Group runs into variants: those whose settings differ in the seed alone."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.config.seed):
        settings = run.config.model_dump(exclude={"seed"})
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(run)
    names = _variant_names([members[0].config for members in groups.values()])
    return [
        Variant(name, tuple((run,) for run in members))
        for name, members in zip(names, groups.values(), strict=True)
    ]


def _variant_names(configs: Sequence[TrainConfig]) -> list[str]:
    """Name variants by the settings that differ, without those that come with the model."""
    if len(configs) < 2:
        return [config.model for config in configs]
    settings = [config.model_dump() for config in configs]
    recipes = [TrainConfig(model=config.model).model_dump() for config in configs]
    names = [
        name
        for name in _differing(settings)
        if name == "model"
        or any(s[name] != r[name] for s, r in zip(settings, recipes, strict=True))
    ]
    names.sort(key=lambda name: name != "model")
    return [" ".join(f"{name}={format_setting(s[name])}" for name in names) for s in settings]


def format_setting(value: Any) -> str:
    """Format the value of a setting."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "+".join(map(str, value)) or "none"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={item}" for key, item in value.items()) or "none"
    return "none" if value is None else str(value)


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [name for name in configs[0] if name not in ("seed", "fold")]
    return [name for name in names if any(config[name] != configs[0][name] for config in configs)]


def pool_predictions(runs: Sequence[Run]) -> dict[str, NDArray[Any]]:
    """Return the predictions of one run, or those of all folds of a seed in the source's order.

    Raises:
        RunError: if the folds do not hold every image once.
    """
    folds = [run.predictions() for run in runs]
    if len(folds) == 1:
        return folds[0]
    rows = np.concatenate([fold["test_rows"] for fold in folds])
    if not np.array_equal(np.sort(rows), np.arange(len(rows))):
        raise RunError(f"{runs[0].path}: the folds do not hold every image once. Train them again.")
    pooled = {name: np.concatenate([fold[name] for fold in folds]) for name in folds[0]}
    return {k: v[np.argsort(rows)] if k.startswith("test_") else v for k, v in pooled.items()}


class _Seed:
    """The measurements of one seed: of its run, or of the runs of all folds together."""

    def __init__(self, runs: tuple[Run, ...]) -> None:
        for run in runs:
            if run.result is None:
                raise RunError(
                    f"{run.path} is not finished. Resume it with: siglum train --resume {run.path}"
                )
        self.runs, self.config, self.env = runs, runs[0].config, runs[0].env
        predictions = pool_predictions(runs)
        self.writers = predictions.get("test_writers")
        self.labels = {p: predictions[f"{p}_labels"] for p in PARTS if f"{p}_labels" in predictions}
        self.log_probs = {part: predictions[f"{part}_log_probs"] for part in self.labels}
        self.correct = {p: self.log_probs[p].argmax(axis=1) == self.labels[p] for p in self.labels}
        self.folds: list[NDArray[Any]] = []  # the images that each fold tests on
        self.test_ratio = 0.0  # test images per training image
        self.fingerprints = dict(self.env["data"])
        if len(runs) > 1:
            self.folds = [run.predictions()["test_rows"] for run in runs]
            counts = [run.env["counts"] for run in runs]
            self.test_ratio = fmean(c["test"] / c["train"] for c in counts)
            self.fingerprints["test"] = self.env["data"]["whole"]
        self.seconds = sum(float((run.result or {})["seconds"]) for run in runs)
        # Weights from a file do not say how long their training took.
        parent = (self.env.get("init") or {"seconds": 0.0})["seconds"]
        self.total_seconds = self.seconds + (math.nan if parent is None else parent)

    def epochs(self) -> tuple[Epoch, ...]:
        """Return the mean of the folds, epoch by epoch; examples and seconds are summed."""
        records = []
        for folds in zip(*(run.epochs for run in self.runs), strict=False):
            means: dict[str, Any] = {}
            for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
                values = [getattr(epoch, name) for epoch in folds]
                means[name] = None if None in values else fmean(values)
            for name in ("examples", "seconds"):
                means[name] = sum(getattr(epoch, name) for epoch in folds)
            records.append(replace(folds[0], curve=(), **means))
        return tuple(records)


def compare_runs(
    variants: Sequence[Variant], planned: Sequence[tuple[str, str]] = ()
) -> Comparison:
    """Compare variants on the test images, or on the validation images if a run has no test.

    Args:
        planned: names of the pairs to test. Name them before the runs: the fewer tests, the more
            each can show.

    Raises:
        RunError: if a run is not finished or damaged.
        ConfigError: if nothing is finished, a seed occurs twice, or the images differ.
    """
    seeds = {v.name: {runs[0].config.seed: _Seed(runs) for runs in v.runs} for v in variants}
    for variant in variants:
        if len(seeds[variant.name]) < len(variant.runs):
            raise ConfigError(f"{variant.name} has two runs of one seed. Leave one of them out.")
    everything = [seed for of_variant in seeds.values() for seed in of_variant.values()]
    if not everything:
        raise ConfigError("Nothing to compare: no run is finished. Train one with 'siglum train'.")
    part = next((p for p in PARTS if all(p in seed.labels for seed in everything)), None)
    if part is None:
        raise ConfigError(
            "Cannot compare: all runs need test images, or all need validation images. Give --val "
            "or --test to 'siglum train'."
        )
    _check_images(everything, part)
    configs = [seed.config.model_dump() for seed in everything]
    differing = _differing(configs)
    summaries = tuple(_summarise(v, list(seeds[v.name].values()), part) for v in variants)
    comparison = Comparison(
        part=part,
        variants=summaries,
        pairs=(),
        shared={k: v for k, v in configs[0].items() if k != "seed" and k not in differing},
        differing=tuple(differing),
        machines=tuple(dict.fromkeys(_machine(seed.env) for seed in everything)),
        effects=_effects(summaries, part),
    )
    names = [variant.name for variant in comparison.finished]
    pairs = [pair for pair in planned if set(pair) <= set(names)]
    if not planned:
        pairs = list(itertools.combinations(names, 2))
        if len(names) > MAX_ALL_PAIRS:
            pairs = [pair for pair in pairs if {names[0], comparison.best.name} & set(pair)]
    differences = [_difference(a, b, seeds[a], seeds[b], part) for a, b in pairs]
    tested = [i for i, pair in enumerate(differences) if pair.p is not None]
    adjusted = _holm([differences[i].p for i in tested])
    for i, p in zip(tested, adjusted, strict=True):
        differences[i] = replace(differences[i], p=p)
    return replace(comparison, pairs=tuple(differences))


def _check_images(seeds: Sequence[_Seed], part: str) -> None:
    """Raise ConfigError unless all runs have the same test images, or a seed's validation images.

    The fingerprint is of preprocessed images: where preprocessing differs, only the labels tell.
    """
    first: dict[int, _Seed] = {}
    for seed in seeds:
        other = first.setdefault(seed.config.seed if part == "val" else 0, seed)
        measured = {"mean", "std", "margins"}
        ours, theirs = (s.runs[0].preprocess.model_dump(exclude=measured) for s in (seed, other))
        same = ours != theirs or seed.fingerprints[part] == other.fingerprints[part]
        if not same or not np.array_equal(seed.labels[part], other.labels[part]):
            raise ConfigError(
                f"Cannot compare {other.runs[0].path} and {seed.runs[0].path}: their {PARTS[part]} "
                f"images differ. Train both with the same data and the same --{part}."
            )


def _machine(env: Mapping[str, Any]) -> str:
    machine = env["device"]
    threads = count(machine["threads"], "thread")
    return f"{env['processor']}, {machine['device']}, {threads}, {machine['precision']}"


def t_interval(
    values: Sequence[float] | NDArray[Any], test_ratio: float = 0.0
) -> tuple[float, float]:
    """Return Student's 95 % t interval of the mean of at least two values.

    For folds, `test_ratio`, test images per training image, gives Nadeau and Bengio's correction.
    """
    variance = float(np.var(values, ddof=1)) * (1 / len(values) + test_ratio)
    half = float(student_t.ppf(0.975, len(values) - 1)) * math.sqrt(variance)
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def estimate(values: Sequence[float], images: int = 0, share: bool = False) -> Estimate:
    """Return the mean of values with its 95 % interval over the seeds.

    Args:
        images: what a single value is a share of; without, a single value has no interval.
        share: clip the interval to [0, 1].
    """
    mean = fmean(values) if values else math.nan
    if len(values) > 1 and not math.isnan(mean):
        low, high = t_interval(values)
        low, high = (max(low, 0.0), min(high, 1.0)) if share else (low, high)
        std = float(np.std(values, ddof=1))
        return Estimate(tuple(values), mean, std, low, high, f"Student t, {len(values)} seeds")
    if not images:
        return Estimate(tuple(values), mean)
    rate = stats.wilson(round(mean * images), images)
    return Estimate(tuple(values), mean, None, rate.low, rate.high, f"Wilson, {images:,} images")


def _accuracy(seeds: Sequence[_Seed], part: str) -> Estimate:
    """Return the accuracy over seeds. The interval of a cross-validation is the wider, at either
    end, of the corrected t interval over the folds and Wilson's interval of the images."""
    images = len(seeds[0].labels[part])
    accuracy = estimate([float(seed.correct[part].mean()) for seed in seeds], images, share=True)
    if part != "test" or not seeds[0].folds:
        return accuracy
    folds = [float(seed.correct["test"][rows].mean()) for seed in seeds for rows in seed.folds]
    low, high = t_interval(folds, seeds[0].test_ratio)
    rate = stats.wilson(round(accuracy.mean * images), images)
    low, high = max(min(low, rate.low), 0.0), min(max(high, rate.high), 1.0)
    method = f"corrected t, {len(folds)} folds; at least Wilson, {images:,} images"
    return replace(accuracy, low=low, high=high, method=method)


def writer_interval(correct: NDArray[Any], writers: NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % cluster bootstrap interval of accuracy on images of other writers.

    `correct` and `writers`, at least two, are (N,). Never narrower than Wilson's interval: a few
    writers without an error say little about others.
    """
    index = np.unique(writers, return_inverse=True)[1]
    images, hits = np.bincount(index), np.bincount(index, weights=correct.astype(float))
    rate = stats.wilson(round(float(hits.sum())), len(correct))
    resampled = bootstrap(
        (hits, images),
        lambda hits, images, axis: hits.sum(axis=axis) / images.sum(axis=axis),
        paired=True,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = resampled.confidence_interval
    return min(float(low), rate.low), max(float(high), rate.high)


def _summarise(variant: Variant, seeds: Sequence[_Seed], part: str) -> VariantSummary:
    epochs = tuple(seed.epochs() for seed in seeds)
    parts = [name for name in PARTS if seeds and all(name in seed.labels for seed in seeds)]
    accuracy = {name: _accuracy(seeds, name) for name in parts}
    writer_ci = None
    if seeds:
        accuracy["train"] = estimate([e[-1].train_accuracy for e in epochs], share=True)
        writers = seeds[0].writers if part == "test" else None
        if writers is not None and len(np.unique(writers)) > 1:
            correct = np.mean([seed.correct["test"] for seed in seeds], axis=0)
            writer_ci = writer_interval(correct, writers)
    runs = [run for seed in seeds for run in seed.runs]
    measures = [
        stats.measure(s.log_probs[part], s.labels[part], len(s.runs[0].classes)) for s in seeds
    ]
    return VariantSummary(
        name=variant.name,
        seeds=tuple(seed.config.seed for seed in seeds),
        runs=tuple(str(run.path) for run in runs),
        configs=tuple(run.config.model_dump() for run in runs),
        parameters=(runs[0].result or {})["parameters"] if runs else None,
        accuracy=accuracy,
        loss=estimate([measure.loss for measure in measures]),
        ece=estimate([measure.ece for measure in measures], share=True),
        seconds=estimate([seed.seconds for seed in seeds]),
        total_seconds=estimate([seed.total_seconds for seed in seeds]),
        writer_ci=writer_ci,
        epochs=epochs,
        published=dict(variant.published),
        levels=dict(variant.levels),
        failed=variant.failed,
        missing=variant.missing,
    )


def _difference(
    first: str, second: str, ours: Mapping[int, _Seed], theirs: Mapping[int, _Seed], part: str
) -> Difference:
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return Difference(first, second)
    pairs = [(ours[seed], theirs[seed]) for seed in common]
    for a, b in pairs:
        if sorted(map(list, a.folds)) != sorted(map(list, b.folds)):
            raise ConfigError(
                f"Cannot compare {first} and {second}: their folds differ. Give both the same "
                "folds and split."
            )
    by_seed = [a.correct[part].astype(float) - b.correct[part] for a, b in pairs]
    # Each seed has validation images of its own: they are placed side by side.
    by_image = np.mean(by_seed, axis=0) if part == "test" else np.concatenate(by_seed)
    values = [float(difference.mean()) for difference in by_seed]
    if pairs[0][0].folds:
        values = [
            float(d[rows].mean())
            for d, (a, _) in zip(by_seed, pairs, strict=True)
            for rows in a.folds
        ]
    means = [
        fmean(float(seed.correct[part].mean()) for seed in side)
        for side in zip(*pairs, strict=True)
    ]
    value = means[0] - means[1]
    low, high, p = difference_interval(values, by_image, pairs[0][0].test_ratio)
    accuracies = (means[0], means[1])
    return Difference(first, second, len(common), len(by_image), accuracies, value, low, high, p)


def difference_interval(
    values: Sequence[float], by_image: NDArray[Any], test_ratio: float = 0.0
) -> tuple[float, float, float | None]:
    """Return the 95 % interval of a mean difference over seeds and images, and p that it is 0.

    Args:
        values: the difference of each seed, or of each fold of each seed. A single value has the
            interval over the images, and no p.
        by_image: (N,), the difference of each image, the mean over the seeds.
        test_ratio: for folds, test images per training image.
    """
    mean, size = fmean(values), len(values)
    b = float(np.var(by_image, ddof=1)) / len(by_image) if len(by_image) > 1 else 0.0
    if size == 1:
        half = float(student_t.ppf(0.975, max(len(by_image) - 1, 1))) * math.sqrt(b)
        return mean - half, mean + half, None
    a = float(np.var(values, ddof=1)) * (1 / size + test_ratio)
    if a + b < EPSILON**2:
        return mean, mean, float(abs(mean) < EPSILON)
    df = (a + b) ** 2 / (a * a / (size - 1) + b * b / max(len(by_image) - 1, 1))
    tests = [(math.sqrt(a + b), df)]
    if a > EPSILON**2:
        tests.append((math.sqrt(a), size - 1.0))
    half = max(float(student_t.ppf(0.975, df)) * error for error, df in tests)
    p = max(float(2 * student_t.sf(abs(mean) / error, df)) for error, df in tests)
    return mean - half, mean + half, p


def _holm(p_values: Sequence[Any]) -> list[float]:
    from statsmodels.stats.multitest import multipletests  # pandas: a second that jobs need not pay

    return multipletests(p_values, method="holm")[1].tolist() if p_values else []


def _effects(summaries: Sequence[VariantSummary], part: str) -> Effects | None:
    """Analyse a complete grid with the seeds as blocks; None for other studies and one seed."""
    cells = [{k: format_setting(v) for k, v in s.levels.items()} for s in summaries]
    values = {name: list(dict.fromkeys(cell[name] for cell in cells)) for name in cells[0]}
    values = {name: several for name, several in values.items() if len(several) > 1}
    seeds = set.intersection(*(set(s.seeds) for s in summaries))
    if min(len(values), len(seeds)) < 2 or len(cells) != math.prod(map(len, values.values())):
        return None
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    frame = pd.DataFrame(
        {**cell, "seed": str(seed), "accuracy": accuracy}
        for cell, summary in zip(cells, summaries, strict=True)
        for seed, accuracy in zip(summary.seeds, summary.accuracy[part].values, strict=True)
        if seed in seeds
    )
    settings = " + ".join(f"Q({name!r})" for name in values)
    table = anova_lm(ols(f"accuracy ~ ({settings}) ** 3 + seed", frame).fit())
    table.index = [re.sub(r"Q\('(.*?)'\)", r"\1", row).replace(":", " × ") for row in table.index]
    shares, residual = table.sum_sq / (table.sum_sq.sum() or 1.0), table.loc["Residual"]
    tests = table["PR(>F)"].drop(["seed", "Residual"]).fillna(1.0)
    quantile = float(student_t.ppf(0.975, residual.df))
    return Effects(
        means={
            name: {v: float(frame.accuracy[frame[name] == v].mean()) for v in several}
            for name, several in values.items()
        },
        margins={
            name: quantile * math.sqrt(residual.mean_sq * (len(several) - 1) / len(frame))
            for name, several in values.items()
        },
        shares={name.lower(): float(share) for name, share in shares.items()},
        p_values=dict(zip(tests.index, _holm(list(tests)), strict=True)),
    )


def headline(comparison: Comparison) -> str:
    """Return the finding of a comparison in one sentence, with n."""
    kind, finished, effects = PARTS[comparison.part], comparison.finished, comparison.effects
    if effects is not None:
        shares = []
        for name, share in sorted(effects.shares.items(), key=lambda item: -item[1]):
            means = sorted((m, v) for v, m in effects.means.get(name, {}).items())
            ends = " to ".join(f"{percent(m)} at {v}" for m, v in means[:1] + means[-1:])
            doubt = ", not significant" if effects.p_values.get(name, 0) >= SIGNIFICANT else ""
            shares.append(f"{name} {percent(share, 0)}{f' ({ends})' if ends else ''}{doubt}")
        return f"Shares of the variance of {kind} accuracy: {'; '.join(shares)}."
    pairs = [pair for pair in comparison.pairs if pair.seeds]
    if len(finished) < 2:
        accuracy = finished[0].accuracy[comparison.part]
        ends = f"{100 * (accuracy.low or 0.0):.1f} to {percent(accuracy.high or 1.0)}"
        interval = f"95 % CI {ends}; {accuracy.method}"
        return f"{finished[0].name}: {kind} accuracy {percent(accuracy.mean)} ({interval})."
    if not pairs:
        return "No two variants have a seed in common. Train the same seeds of each."
    seeds = sorted({pair.seeds for pair in pairs})
    size = f"{seeds[0]}{f' to {seeds[-1]}' * (len(seeds) > 1)} seed{'s' * (seeds != [1])}"
    size += f", {max(pair.images for pair in pairs):,} {kind} images"
    if len(pairs) <= MAX_LISTED_PAIRS:
        return f"{'; '.join(map(_pair_headline, pairs))} ({size})."
    best, significant = comparison.best, [pair for pair in pairs if pair.is_significant]
    better = [p for p in significant if best.name == (p.first if p.value > 0 else p.second)]
    text = f"significantly better than {len(better)} of {len(finished) - 1} others"
    if not significant:
        text = "but no difference shown between any two variants"
    by = "validation" if "val" in best.accuracy else kind
    return f"{best.name}: highest accuracy on the {by} images, {text} ({size})."


def _pair_headline(pair: Difference) -> str:
    sign, digits = (1 if pair.value >= 0 else -1), (2 if pair.images >= 1000 else 1)
    first, second = (pair.first, pair.second)[::sign]
    low, high = sorted((sign * pair.low, sign * pair.high))
    numbers = (*pair.accuracies[::sign], abs(pair.value), low, high)
    ours, theirs, gap, *ends = (f"{round(100 * n, digits) + 0.0:.{digits}f}" for n in numbers)
    interval = f"95 % CI {' to '.join(ends)}"
    if pair.p is None:
        return (
            f"{first} and {second}: {ours} and {theirs} %, {gap} points apart ({interval} over "
            "images), but one seed cannot tell variants from the luck of the start"
        )
    p = "p < 0.001" if pair.p < 0.001 else f"p = {pair.p:.3f}"
    text = f"{ours} and {theirs} %, {gap} points ({interval}; {p} after Holm)"
    if pair.is_significant:
        return f"{first} is better than {second}: {text}"
    return f"no difference shown between {first} and {second}: {text}"
