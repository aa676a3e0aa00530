"""Compare variants, which are ways to train: accuracy, differences, and how certain both are.

Chance enters twice: another seed gives another network, another test set holds other images. The
interval of a difference adds both variances (degrees of freedom by Satterthwaite) and is never
narrower than Student's t interval over the seeds, or the corrected one over the folds.

Sources: Clark 1973, "The language-as-fixed-effect fallacy"; Nadeau, Bengio 2003, "Inference for the
generalization error"; Field, Welsh 2007, "Bootstrapping clustered data"; Holm 1979, "A simple
sequentially rejective multiple test procedure".
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap, t as student_t
from statsmodels.stats.multitest import multipletests

from siglum import stats
from siglum.config import TrainConfig
from siglum.errors import ConfigError
from siglum.formatting import count
from siglum.lab.run_folder import Run
from siglum.lab.training_loop import Epoch

PARTS = {"test": "test", "val": "validation"}  # compared on the first that every run has
MAX_ALL_PAIRS = 6  # variants; of more, each is compared with the best and with the first
SIGNIFICANT = 0.05
MIN_VARIANCE = 1e-24  # below, shares differ by rounding only


@dataclass(frozen=True)
class Variant:
    """One way to train, and its finished runs: one for each seed, or for each fold of each seed."""

    name: str
    runs: tuple[Run, ...]
    failed: tuple[tuple[int, str], ...] = ()  # seed and reason
    missing: int = 0  # runs that are not finished
    published: Mapping[Any, float] = field(default_factory=dict)  # train, val, test; fractions
    levels: Mapping[str, Any] = field(default_factory=dict)  # its values in a study's grid


@dataclass(frozen=True)
class Comparison:
    """All results in tables. Shares are in [0, 1]; NaN is not measured."""

    part: str  # a key of PARTS
    selection: str  # a key of PARTS: the validation part, or the compared part if one has none
    best: str  # variant with the highest accuracy on the selection part
    variants: pd.DataFrame  # accuracy with its interval, other means, failed and missing runs
    pairs: pd.DataFrame  # paired differences on the same images, by the seeds that both have
    seeds: pd.DataFrame  # measurements of each seed; with folds, of all images together
    epochs: pd.DataFrame  # learning curve of each seed; with folds, the mean
    grid: pd.DataFrame  # by variant, the values of the settings in a study's grid
    settings: pd.DataFrame  # by variant, all settings but the seed, as text
    effects: pd.DataFrame  # mean accuracy at each value of a setting; of a complete grid

    @property
    def finished(self) -> pd.DataFrame:
        """The variants with at least one finished seed."""
        return self.variants[self.variants.seeds > 0]


def group_runs(runs: Iterable[Run]) -> list[Variant]:
    """Group runs that differ in the seed alone into variants, named by their other differences.

    A network that was trained elsewhere is named by its class and its folder.
    """
    runs = sorted(runs, key=lambda run: run.config.seed)
    if not runs:
        return []
    texts = pd.DataFrame(_format_settings(run.config) for run in runs)
    recipes = pd.DataFrame(_format_settings(TrainConfig(model=model)) for model in texts.model)
    imported = np.array([run.imported for run in runs])
    ours = texts[~imported]
    # Settings that come with the model are left out of the names.
    names = [name for name in ours if name != "model" and (ours != recipes[~imported])[name].any()]
    names = [name for name in ("model", *names) if ours[name].nunique() > 1]
    texts["network"] = [(run.env.get("network_sha256") or "")[:8] for run in runs]  # of its file
    if texts[~imported].groupby("model").network.nunique().max() > 1:
        names.append("network")
    variants = []
    for _, group in texts.groupby(list(texts), sort=False):
        first = group.iloc[0]
        name = " ".join(f"{name}={first[name]}" for name in names) or first.model
        if imported[group.index[0]]:
            name = f"{Path(first.model).name} ({runs[group.index[0]].path})"
        variants.append(Variant(name, tuple(runs[row] for row in group.index)))
    return variants


def format_setting(value: Any) -> str:
    """Format the value of a setting."""
    if isinstance(value, Mapping):
        value = [f"{key}={item}" for key, item in value.items()]
    if isinstance(value, list | tuple):
        return "+".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _format_settings(config: TrainConfig) -> dict[str, str]:
    settings = config.model_dump(exclude={"seed", "fold", "curve"})
    return {name: format_setting(value) for name, value in settings.items()}


def _read(variant: str, run: Run, part: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the measurements of a run, and a table of its predictions, a row for each image."""
    config, env, result, arrays = run.config, run.env, run.result or {}, run.predictions()
    log_probs, labels = arrays[f"{part}_log_probs"], arrays[f"{part}_labels"]
    key = {"variant": variant, "seed": config.seed, "fold": config.fold}
    images = {
        "image": arrays.get(f"{part}_rows", np.arange(len(labels))),  # rows of the set, of a fold
        "writer": arrays.get("test_writers") if part == "test" else None,
        "label": labels,
        "correct": (log_probs.argmax(axis=1) == labels).astype(float),
    }
    measured, epochs = stats.measure(log_probs, labels, len(run.classes)), run.history
    sizes, device = env["counts"], env["device"]
    init = env.get("init") or {"seconds": 0.0}
    seen = init.get("trained", {}).get(part, 0)  # images that the initial weights learned from
    machine = f"{env['processor']}, {device['device']}, {device['precision']}"
    return {
        **key,
        "run": str(run.path),
        "machine": f"{machine}, {count(device['threads'], 'thread')}",
        "parameters": result["parameters"],
        "train": epochs[-1].train_accuracy if epochs else math.nan,
        **{p: result[p]["hits"] / result[p]["total"] if p in result else math.nan for p in PARTS},
        "loss": measured.loss,
        "ece": math.nan if config.folds else measured.ece,  # biased upwards in small sets
        "seconds": result["seconds"] if epochs else math.nan,
        # Weights from a file do not say how long their training took.
        "parent_seconds": init["seconds"],
        "seen": math.nan if seen is None else float(seen),
        # All folds together test on the whole set. Fingerprints are of preprocessed images.
        "fingerprint": env["data"]["whole" if config.folds and part == "test" else part],
        "preprocess": str(run.preprocess.model_dump(exclude={"mean", "std", "margins"})),
        "test_ratio": sizes["test"] / sizes["train"] if config.folds else 0.0,
    }, pd.DataFrame(key | images)


def compare_runs(
    variants: Sequence[Variant], planned: Sequence[tuple[str, str]] = (), part: str | None = None
) -> Comparison:
    """Compare variants on a part: by default test, or val if a run has no test images.

    Of the `planned` pairs, or of all, p is corrected for their number: the fewer tests, the more
    each can show. Raises ConfigError if nothing is finished or the images differ.
    """
    every = [(variant.name, run) for variant in variants for run in variant.runs]
    parts = [part for part in PARTS if all(part in (run.result or {}) for _, run in every)]
    if not every or not parts:
        rule = "all runs must be finished, and all need test images, or all need validation images"
        remedy = "Use siglum train --resume RUN, --val or --test."
        raise ConfigError(f"Nothing to compare: {rule}. {remedy}")
    part, selection = part or parts[0], parts[-1]
    records, tables = zip(*(_read(name, run, part) for name, run in every), strict=True)
    runs, images = pd.DataFrame(records).astype({"parent_seconds": float}), pd.concat(tables)
    if (again := runs.duplicated(["variant", "seed", "fold"])).any():
        name = runs.variant[again].iloc[0]
        raise ConfigError(f"{name} has two runs of one seed. Leave one of them out.")
    _check_images(runs, images, part)
    how = {"run": list, "machine": "first", "seconds": lambda s: s.sum(skipna=False)}
    how["seen"] = how["seconds"]
    how |= dict.fromkeys(["parameters", "train", *PARTS, "loss", "ece", "parent_seconds"], "mean")
    seeds = runs.groupby(["variant", "seed"], sort=False).agg(how)
    seeds[part] = images.groupby(["variant", "seed"]).correct.mean()
    seeds["total_seconds"] = seeds.seconds + seeds.pop("parent_seconds")
    seeds = seeds.reset_index()
    correct = images.pivot(index=["seed", "fold", "image"], columns="variant", values="correct")
    ratios = runs.groupby("variant").test_ratio.mean()
    writers = images.dropna(subset="writer").groupby("image").writer.first()
    table = pd.DataFrame(_summarise(v, correct.get(v.name), ratios, writers) for v in variants)
    means = seeds.groupby("variant").mean(numeric_only=True).drop(columns="seed")
    table = table.join(means, on="variant")
    rows = [
        {"variant": name, "seed": seed, **vars(epoch)}
        for (name, run), seed in zip(every, runs.seed, strict=True)
        for epoch in run.history
    ]
    columns = ["variant", "seed", *Epoch.__dataclass_fields__]  # a network may have no epochs
    epochs = pd.DataFrame(rows, columns=columns).drop(columns="curve")
    measured = [f"{split}_{measure}" for split in PARTS for measure in ("loss", "accuracy")]
    epochs = epochs.astype(dict.fromkeys(measured, float))
    texts = pd.DataFrame({"variant": name, **_format_settings(run.config)} for name, run in every)
    grid = pd.DataFrame([dict(v.levels) for v in variants], index=[v.name for v in variants])
    names, best = seeds.variant.unique(), str(table.variant[table[selection].round(12).idxmax()])
    pairs = planned or itertools.combinations(names, 2)
    pairs = tested = [pair for pair in pairs if set(pair) <= set(names)]
    if not planned and len(names) > MAX_ALL_PAIRS:
        tested = [pair for pair in pairs if {names[0], best} & set(pair)]
    return Comparison(
        part=part,
        selection=selection,
        best=best,
        variants=table,
        pairs=_differences(tested, correct, runs, part, len(pairs) - len(tested)),
        seeds=seeds,
        epochs=epochs.groupby(["variant", "seed", "index"], sort=False).mean().reset_index(),
        grid=grid,
        settings=texts.groupby("variant", sort=False).agg(lambda t: " or ".join(t.unique())),
        effects=_main_effects(grid, seeds.rename(columns={part: "accuracy"})),
    )


def _check_images(runs: pd.DataFrame, images: pd.DataFrame, part: str) -> None:
    """Raise ConfigError unless all runs have the same images, of validation those of a seed."""
    by_seed = part == "val" or runs.test_ratio.any()  # folds differ by seed
    # Fingerprints are of preprocessed images: where preprocessing differs, only the labels tell.
    group = [runs.seed, runs.fold] if part == "val" else []
    fingerprints = runs.groupby([*group, runs.preprocess]).fingerprint.nunique()
    rows = images.sort_values(["image", "fold"]).groupby(["variant", "seed"])
    labels = rows[["image", "fold", "label"]].apply(lambda rows: rows.to_numpy().tobytes())
    labels = labels.groupby("seed" if by_seed else lambda _: 0).nunique()
    if max(*fingerprints, *labels) > 1:
        remedy = f"Train all with the same data, the same --{part} and the same --folds."
        raise ConfigError(f"Cannot compare these runs: their {PARTS[part]} images differ. {remedy}")


def t_interval(values: Any, test_ratio: float = 0.0) -> tuple[float, float]:
    """Return Student's 95 % t interval of the mean of at least two values.

    For folds, `test_ratio`, test images per training image, gives Nadeau and Bengio's correction.
    """
    mean = float(np.mean(values))
    error = math.sqrt(np.var(values, ddof=1) * (1 / len(values) + test_ratio))
    half = float(student_t.ppf(0.975, len(values) - 1)) * error
    return mean - half, mean + half


def _summarise(
    variant: Variant, correct: pd.Series | None, ratios: pd.Series, writers: pd.Series
) -> dict[str, Any]:
    """Return the accuracy of a variant with its 95 % intervals."""
    row: dict[str, Any] = {f"published_{name}": share for name, share in variant.published.items()}
    row |= {"variant": variant.name, "missing": variant.missing, "failed": variant.failed}
    if correct is None:
        return row | {"seeds": 0}
    correct = correct.dropna()
    shares, folds = (correct.groupby(by).mean() for by in ("seed", ["seed", "fold"]))
    images, mean = len(correct) // len(shares), float(shares.mean())
    rate = stats.wilson(round(mean * images), images)
    low, high, method = rate.low, rate.high, f"Wilson, {images:,} images"
    if len(folds) > len(shares):
        low, high = t_interval(folds, ratios[variant.name])
        low, high = min(low, rate.low), max(high, rate.high)  # repeats do not add images
        method = f"corrected t, {len(folds)} folds; at least {method}"
    elif len(shares) > 1:
        (low, high), method = t_interval(shares), f"Student t, {len(shares)} seeds"
    row |= {"seeds": len(shares), "accuracy": mean, "std": shares.std(), "method": method}
    row |= {"low": max(low, 0.0), "high": min(high, 1.0)}
    if writers.nunique() > 1:
        by_image = correct.groupby("image").mean()
        interval = writer_interval(by_image.to_numpy(), writers[by_image.index].to_numpy(str))
        row["writers_low"], row["writers_high"] = interval
    return row


def writer_interval(correct: NDArray[Any], writers: NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % cluster bootstrap interval over writers, never narrower than Wilson's."""
    index = np.unique(writers, return_inverse=True)[1]
    images, hits = np.bincount(index), np.bincount(index, weights=correct)
    rate = stats.wilson(round(float(hits.sum())), len(correct))

    def share(hits: Any, images: Any, axis: int) -> Any:
        return hits.sum(axis=axis) / images.sum(axis=axis)

    options: Any = {"n_resamples": 2000, "method": "percentile", "rng": 0}
    draws = bootstrap((hits, images), share, paired=True, **options)
    low, high = draws.confidence_interval
    return min(float(low), rate.low), max(float(high), rate.high)


def _differences(
    pairs: list[tuple[str, str]], correct: pd.DataFrame, runs: pd.DataFrame, part: str, extra: int
) -> pd.DataFrame:
    """Compare pairs by the seeds that they share; p is corrected for `extra` pairs, too."""
    about, rows = runs.groupby("variant").agg({"test_ratio": "mean", "seed": "nunique"}), []
    shared = runs.groupby("preprocess").fingerprint.nunique().max() == 1
    for first, second in pairs:
        pair = correct[[first, second]].dropna(how="all")
        both = pair.groupby("seed").filter(lambda seed: seed.notna().any().all())
        one = about.seed[[first, second]].min() == 1 and not about.test_ratio.any()
        if both.empty and one and part == "test":  # the mean of the other's seeds counts as one
            both = pd.concat({0: pair.groupby(["fold", "image"]).mean()}, names=["seed"])
        if both.empty:
            continue
        difference, accuracies = both[first] - both[second], both.mean()
        # Validation images that each seed chose are placed side by side.
        by_image = difference.groupby("image").mean() if shared else difference
        by_fold = difference.groupby(["seed", "fold"]).mean()
        interval = difference_interval(by_fold, by_image.to_numpy(), about.test_ratio[first])
        sizes = both.index.unique("seed").size, len(by_image)
        rows.append((first, second, *sizes, *accuracies, difference.mean(), *interval))
    columns = ["first", "second", "seeds", "images", "first_accuracy", "second_accuracy"]
    columns += ["difference", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=columns).astype({"p": float})
    tested = table.p.notna()
    if tested.any():
        every = [*table.p[tested], *[1.0] * extra]  # by the results, which chose the best
        table.loc[tested, "p"] = multipletests(every, method="holm")[1][: sum(tested)]
    table["significant"] = (table.p < SIGNIFICANT) & ((table.low > 0) | (table.high < 0))
    return table


def difference_interval(
    values: Any, by_image: NDArray[Any], test_ratio: float = 0.0
) -> tuple[float, float, float]:
    """Return the 95 % interval of a mean difference over seeds and images, and p that it is 0.

    Of `values`, one for each seed or fold, and `by_image` (N,), their means over the seeds.
    """
    mean, df = float(np.mean(values)), (len(values) - 1, max(len(by_image) - 1, 1))
    over_images = max(float(np.var(by_image)) / df[1], MIN_VARIANCE)
    if not df[0]:  # one seed shows no variance
        half = float(student_t.ppf(0.975, df[1])) * math.sqrt(over_images)
        return mean - half, mean + half, math.nan
    over_seeds = max(float(np.var(values, ddof=1)) * (1 / len(values) + test_ratio), MIN_VARIANCE)
    both = over_seeds + over_images
    both_df = both**2 / (over_seeds**2 / df[0] + over_images**2 / df[1])
    tests = [(math.sqrt(over_seeds), df[0]), (math.sqrt(both), both_df)]
    half = max(float(student_t.ppf(0.975, df)) * error for error, df in tests)
    p = max(float(2 * student_t.sf(abs(mean) / error, df)) for error, df in tests)
    return mean - half, mean + half, p


def _main_effects(grid: pd.DataFrame, seeds: pd.DataFrame) -> pd.DataFrame:
    """Return the mean accuracy at each value of a setting of a complete grid, over all others."""
    effects, levels = [], grid.map(format_setting)
    levels = levels.loc[:, levels.nunique() > 1]
    seeds = seeds.groupby("seed").filter(lambda rows: len(rows) == len(grid))
    if levels.shape[1] > 1 and len(levels.drop_duplicates()) == levels.nunique().prod():
        for setting in levels:
            values = levels[setting].rename("value")
            accuracies = seeds.join(values, on="variant").groupby(["value", "seed"], sort=False)
            for value, means in accuracies.accuracy.mean().groupby("value", sort=False):
                interval = t_interval(means) if len(means) > 1 else (math.nan, math.nan)
                effects.append((setting, value, means.mean(), *interval))
    return pd.DataFrame(effects, columns=["setting", "value", "mean", "low", "high"])
