"""The report of a run: what was done, how well, how certain; then the evidence.

This module collects the facts and draws the plots; templates word the findings and show them.
Shapes: N images of the measured part, K classes.
"""

import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from siglum import stats
from siglum.config import TrainConfig
from siglum.errors import RunError, SiglumError
from siglum.files import to_csv, write_atomic
from siglum.formatting import count, number, percent, rate, rate_and_interval
from siglum.images import decode
from siglum.images.imageset import ImageSet
from siglum.lab import transfer
from siglum.lab.run_folder import Run
from siglum.lab.train_run import PARTS, load_same_data
from siglum.lab.training_loop import Data, Epoch
from siglum.report import page, plots
from siglum.report.plots import Plot

Cell = tuple[int, int]  # label and predicted class

IMAGE_SIDE = 64  # px of an image on the page, at most
SHEET_IMAGES, CLASS_IMAGES = 240, 8
CELL_IMAGES, IMAGE_BYTES = 24, 1_200_000  # of the confusion matrix
CURVE_POINTS = 80
# By anchor, which is also the template: the fact without which the section is left out.
SECTIONS = {"images": "classes", "learning": "epochs", "confusion": "part", "classes": "part"}
SECTIONS |= {"mistakes": "part", "calibration": "part", "settings": "config", "reproduce": "config"}
X_AXES = {"epochs": "examples", "images": "examples", "seconds of training": "seconds"}


def write_report(run: Run, path: Path) -> None:
    """Write the report of a finished run as one HTML page, which names what is damaged."""
    facts = Facts(run)
    values = template_values(facts) | {"chain": training_chain(run.path)}
    opening = page.load("opening.html", **values)
    anchors = [anchor for anchor, fact in SECTIONS.items() if getattr(facts, fact)]
    sections = {anchor: page.load(f"{anchor}.html", **values) for anchor in anchors}
    texts = {"headline": opening.headline, "summary": [opening.summary], "notices": facts.notices}
    share = facts.measures.accuracy if facts.part else None
    html = page.render_page(run.path.name, "report of a run", sections, rate=share, **texts)
    write_atomic(path, html)


def template_values(facts: "Facts") -> dict[str, Any]:
    """Return the variables of the templates of a run's sections."""
    return {
        "facts": facts,
        "plots": draw_plots(facts),
        "labels": plots.short_labels(facts.classes, 10),
        "defaults": TrainConfig(model=facts.config.model),
        "image_uri": image_uri,
    }


class Facts:
    """A finished run, its predictions and its images, as far as they can be read."""

    def __init__(self, run: Run) -> None:
        self.config, self.classes, self.preprocess = run.config, run.classes, run.preprocess
        self.notices: list[str] = []  # what is missing or damaged
        result = self._read(lambda: run.result, {})
        if result is None:
            remedy = f"Finish it with: siglum train --resume {run.path}"
            raise RunError(f"{run.path} is not finished. {remedy}")
        self.result: dict[str, Any] = result
        self.imported = bool(result.get("imported"))  # trained elsewhere
        self.env: dict[str, Any] = self._read(lambda: run.env, {})
        self.epochs: list[Epoch] = self._read(lambda: run.history, [])
        self.data: Data | None = self._read(lambda: load_same_data(run), None)
        arrays: dict[str, NDArray[Any]] = self._read(run.predictions, {})
        measured = (part for part in ("test", "val") if len(arrays.get(f"{part}_labels", ())))
        self.part = next(measured, "")  # or "" if nothing was measured
        if self.part:
            self._measure(arrays[f"{self.part}_log_probs"], arrays[f"{self.part}_labels"])

    def _measure(self, log_probs: stats.FloatArray, labels: stats.IntArray) -> None:
        self.log_probs, self.labels = log_probs, labels  # (N, K), (N,)
        self.kind = "test image" if self.part == "test" else "validation image"
        self.num_images = count(len(labels), self.kind)
        self.source = (self.part == "test" and self.config.test) or self.config.data
        self.images: ImageSet | None = getattr(self.data, self.part, None)
        self.measures = stats.measure(log_probs, labels, len(self.classes))
        self.predicted = log_probs.argmax(axis=1)
        self.confidence = np.exp(log_probs.max(axis=1).astype(np.float64))
        single = len(set(self.predicted.tolist())) == 1 < len(set(labels.tolist()))
        self.single_prediction = self.classes[self.predicted[0]] if single else None
        wrong = np.flatnonzero(self.predicted != labels)
        self.mistakes = wrong[np.argsort(-self.confidence[wrong], kind="stable")]
        counts = self.measures.confusion
        cells = [
            ((row, column), stats.wilson(int(counts[row, column]), int(counts[row].sum())))
            for row, column in np.argwhere(counts).tolist()
        ]
        # The shares of a class recognised as each class; the commonest mistakes come first.
        cells.sort(key=lambda cell: (len({*cell[0]}) == 1, -cell[1].hits, -cell[1].value))
        self.cells: dict[Cell, stats.Rate] = dict(cells)
        self.wrong_cells = [cell for cell in cells if len({*cell[0]}) == 2]

    def _read(self, function: Callable[[], Any], default: Any) -> Any:
        try:
            return function()
        except SiglumError as error:
            self.notices.append(str(error))
            return default

    def val_rate(self, epoch: Epoch) -> stats.Rate | None:
        """Return an epoch's validation accuracy with its interval."""
        total = self.env.get("counts", {}).get("val", 0)
        if epoch.val_accuracy is None or not total:
            return None
        return stats.wilson(round(epoch.val_accuracy * total), total)

    def sheet(self) -> list[tuple[str, int, list[str]]]:
        """Return each class, its number of training images, and some of these."""
        train = self.data.train if self.data and not self.imported else None
        if train is None:
            return []
        sheet, each = [], min(max(SHEET_IMAGES // len(train.classes), 1), CLASS_IMAGES)
        for label, name in enumerate(train.classes[:SHEET_IMAGES]):
            rows = np.flatnonzero(train.labels == label)
            chosen = rows[np.linspace(0, len(rows) - 1, min(each, len(rows))).round().astype(int)]
            sheet.append((name, len(rows), [image_uri(train, row) for row in chosen]))
        return sheet

    def cell_images(self) -> dict[Cell, list[tuple[str, float]]]:
        """Return images with probabilities by cell: the surest mistakes, the least sure others."""
        images: dict[Cell, list[tuple[str, float]]] = {}
        room, order = IMAGE_BYTES, np.argsort(-self.confidence, kind="stable")
        if self.images is None:
            return images
        for label, predicted in self.cells:
            rows = order[(self.labels[order] == label) & (self.predicted[order] == predicted)]
            for row in (rows if label != predicted else rows[::-1])[:CELL_IMAGES]:
                uri = image_uri(self.images, row)
                room -= len(uri)
                if room < 0:
                    return images
                images.setdefault((label, predicted), []).append((uri, self.confidence[row]))
        return images


def image_uri(images: ImageSet, index: int) -> str:
    """Return an image of a set as a data URI; of several planes the ink or the colours."""
    planes = images.take(np.array([index]))[0]
    return decode.png_uri(planes if len(planes) == 3 else planes[:1], IMAGE_SIDE)


def training_chain(path: Path, out: str = "") -> tuple[list[tuple[str, str, str]], str]:
    """Return the commands that train a run, its parents first, and why the chain is incomplete."""
    steps: list[tuple[str, str, str]] = []  # command, name and text of its CSV file of renames
    while len(steps) < 20:
        try:
            run = Run(path)
            config, parent = run.config, transfer.parent(run)
            if run.imported:
                return [(run.env["command"], "", ""), *steps], ""
        except SiglumError as error:
            return steps, str(error)
        renames = f"{path.name}-classes.csv"
        command = train_command(config, renames, out)
        steps.insert(0, (command, renames, to_csv(config.rename.items())))
        if config.init in transfer.NO_RUNS or config.init.startswith(transfer.FILE):
            break
        if parent is None:
            return steps, f"{config.init} is gone, or another run has its name."
        path, out = parent.path, config.init
    return steps, ""


def train_command(config: TrainConfig, renames: str = "classes.csv", out: str = "") -> str:
    """Return the command that trains with `config`, quoted for a shell; defaults are omitted."""
    usual = TrainConfig(model=config.model)
    line = ["siglum", "train", config.data]
    for name, field in TrainConfig.model_fields.items():
        value, flag = getattr(config, name), f"--{name.replace('_', '-')}"
        default = field.default if name == "model" else getattr(usual, name)
        if name == "data" or (value == default and not (name == "fold" and config.folds)):
            continue
        if isinstance(value, bool):
            line.append(flag if value else f"--no-{flag[2:]}")
        elif name == "rename":
            line.append(f"{flag}={renames}")
        elif isinstance(value, dict):
            line += [f"{flag}.{key}={item}" for key, item in value.items()]
        elif isinstance(value, tuple):
            line += [f"{flag}={item}" for item in value] or [f"--empty-{flag[2:]}"]
        else:
            line.append(f"{flag}={value}")
    return shlex.join(line + (["-o", out] if out else []))


@plots.styled
def draw_plots(facts: Facts) -> dict[str, Plot]:
    """Return the plots by name: learning curves, images per class, confusion, calibration."""
    drawings = []
    if facts.epochs:
        drawings += [_learning(facts, y, x) for y in ("accuracy", "loss") for x in X_AXES]
    if facts.data and not facts.imported:
        drawings.append(_images_per_class(facts, facts.data))
    if facts.part:
        drawings += [_confusion(facts), _calibration(facts)]
    return {plot.name: plot for plot in drawings}


def _learning(facts: Facts, measure: str, x: str) -> Plot:
    epochs, column = pd.DataFrame(facts.epochs).drop(columns="curve"), X_AXES[x]
    points = pd.DataFrame(point for epoch in facts.epochs for point in epoch.curve)
    points = points.groupby(points.index // math.ceil(len(points) / CURVE_POINTS))
    means = points.agg({column: "last", measure: "mean"}).set_index(column)
    measured = epochs.set_index(column).astype(float)
    curves = {"validation": measured[f"val_{measure}"], "training": means[measure]}
    curves["test, not for choosing"] = measured[f"test_{measure}"]
    lines = pd.concat(curves, names=["line", "x"]).dropna().rename("y").reset_index()
    lines = lines.assign(low=np.nan, high=np.nan)
    lines["x"] /= epochs.examples[0] if x == "epochs" else 1
    rates = [held for epoch in facts.epochs if (held := facts.val_rate(epoch))]
    caption = f"Validation: {count(rates[-1].total, 'image')}, with 95 % CI. " if rates else ""
    caption += "Training: means within an epoch"
    caption += ", on augmented images." if facts.config.augment else "."
    caption += " Test: after every epoch; not used to choose." if epochs.test_loss.any() else ""
    split = "train" if epochs.val_loss.isna().all() else "val"
    value = epochs[f"{split}_{measure}"].iloc[-1]
    limits: tuple[float, float | None] = (0, None)
    text = f"{number(value)} nats per image"
    if measure == "accuracy":
        limits = (min(math.floor(10 * lines.y.min()) / 10, 0.9), 1)
        text = rate(rates[-1]) if rates else percent(value)
        if rates:
            bands = [(held.low, held.high) for held in rates]
            lines.loc[lines.line == "validation", ["low", "high"]] = bands
    figure = plots.draw_lines(lines, x, limits, (344, 232))
    figure.axes[0].set_xlim(0, None)
    name, title = f"{measure}-{x.split()[0]}", f"{PARTS[split].capitalize()} {measure} {text}"
    return Plot(name, title, figure, epochs.to_dict("list"), caption)


def _images_per_class(facts: Facts, data: Data) -> Plot:
    counts, labels = data.train.counts, plots.short_labels(facts.classes, 12)
    turned = max(map(len, labels)) > 2
    width = min(max(16 * len(labels), 240), 960) + 60
    figure, axes = plots.new_axes(width, 260 if turned else 188)
    axes.bar(range(len(labels)), counts, color=plots.SERIES[0])
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    _label_classes(axes.xaxis, labels, 90 if turned else 0)

    columns: dict[str, Sequence[object]] = {"class": facts.classes}
    for part, images in data.parts.items():
        if images is not None:
            columns[f"{part} images"] = images.counts.tolist()
    ends = [f"{total:,}" for total in sorted({int(counts.min()), int(counts.max())})]
    title = f"Training images per class: {' to '.join(ends)}"
    return Plot("images-per-class", title, figure, columns, f"{len(labels)} classes.")


def _confusion(facts: Facts) -> Plot:
    counts, labels = facts.measures.confusion, plots.short_labels(facts.classes, 12)
    size = max(16 * len(labels), 240) + 8 * max(map(len, labels)) + 44
    figure, axes = plots.new_axes(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    colours = LinearSegmentedColormap.from_list("ink", [plots.PAPER, plots.INK])
    axes.imshow(np.sqrt(shares), cmap=colours, vmin=0, vmax=1)
    axes.grid(False)
    _label_classes(axes.xaxis, labels, 90 if max(map(len, labels)) > 2 else 0)
    _label_classes(axes.yaxis, labels)
    axes.set(xlabel="predicted class", ylabel="true class")

    columns: dict[str, Sequence[object]] = {"true class": facts.classes}
    columns |= {f"predicted {n}": counts[:, k].tolist() for k, n in enumerate(facts.classes)}
    title = f"{rate_and_interval(facts.measures.accuracy)} correct"
    caption = f"{facts.num_images}; darker is a larger share of the row."
    return Plot("confusion", title, figure, columns, caption)


def _label_classes(axis: Axis, labels: Sequence[str], rotation: float = 0) -> None:
    axis.set_ticks(range(len(labels)), labels, rotation=rotation, fontsize=11)
    axis.set_tick_params(length=0, labelcolor=plots.INK)


def _calibration(facts: Facts) -> Plot:
    measures, groups = facts.measures, facts.measures.reliability
    rows = [(r.total, confidence, r.value, r.low, r.high) for _, _, confidence, r in groups]
    table = pd.DataFrame(rows, columns=["images", "probability", "accuracy", "low", "high"])
    figure, axes = plots.new_axes(480, 400)
    axes.plot([0, 1], [0, 1], color=plots.QUIET, lw=1, ls="--", label="calibrated")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="probability of the prediction")
    x, y, colour = table.probability, table.accuracy, plots.SERIES[0]
    errors = y - table.low, table.high - y
    axes.errorbar(x, y, errors, fmt="o", color=colour, elinewidth=1.25, clip_on=False)
    axes.legend(bbox_to_anchor=(1, 0.5))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0, " %"))
    axes.set_title("accuracy", loc="left", fontsize=13, color=plots.QUIET)

    mean, accuracy = float(facts.confidence.mean()), measures.accuracy
    verdict = "No miscalibration shown" if mean <= accuracy.high else "Overconfident"
    verdict = "Underconfident" if mean < accuracy.low else verdict
    title = f"{verdict}: mean probability {percent(mean)}, accuracy {rate(accuracy)}"
    caption = (
        f"{facts.num_images} in {count(len(groups), 'group')} by probability, with 95 % CI. "
        f"Expected calibration error {percent(measures.ece)}; negative log-likelihood "
        f"{number(measures.loss)} nats per image."
    )
    return Plot("calibration", title, figure, table.to_dict("list"), caption)
