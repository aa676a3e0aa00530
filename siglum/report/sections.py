"""The report of a run: what was done, how well, how certain; then the evidence.

This module collects the facts, words the findings and draws the plots; templates do the rest.
Shapes: N images of the measured part, K classes.
"""

import base64
import csv
import io
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from siglum import stats
from siglum.config import Preprocess, TrainConfig
from siglum.errors import DataError, RunError, SiglumError
from siglum.files import write_atomic
from siglum.formatting import (
    count,
    date,
    duration,
    interval,
    number,
    percent,
    rate,
    rate_and_interval,
    source_name,
)
from siglum.images.imageset import ImageSet
from siglum.lab.runs import Run
from siglum.lab.trainer import Data, load_data
from siglum.lab.training import Epoch, Point
from siglum.report import plots
from siglum.report.page import Section, render, render_page, sentence, sign
from siglum.report.plots import Palette, Plot
from siglum.stats import FloatArray, IntArray, Measures, Rate

T = TypeVar("T")
Parts = tuple[Markup, Markup]  # the finding of a section, and its evidence as HTML

PARTS = {"test": "test", "val": "validation"}
IMAGE_SIDE = 64  # px of an image on the page, at most
SHEET_IMAGES, CLASS_IMAGES, MISTAKES = 240, 8, 24
CELL_IMAGES, IMAGE_BYTES = 24, 1_200_000  # of the confusion matrix
CURVE_POINTS = 80
SURE = 0.9


@dataclass(frozen=True, eq=False)
class Facts:
    """A finished run, its predictions and its images, as far as they can be read."""

    path: Path
    config: TrainConfig
    preprocess: Preprocess
    classes: tuple[str, ...]
    epochs: list[Epoch]
    env: dict[str, Any]
    result: dict[str, Any]
    part: str  # a key of PARTS, or "" if nothing was measured
    log_probs: FloatArray  # (N, K)
    labels: IntArray  # (N,)
    data: Data | None
    notices: list[str]  # what is missing or damaged

    @cached_property
    def measures(self) -> Measures:
        """Accuracy, recall, precision, confusion matrix and calibration."""
        return stats.measure(self.log_probs, self.labels, len(self.classes))

    @cached_property
    def predicted(self) -> IntArray:
        """The most probable class: (N,)."""
        return np.asarray(self.log_probs.argmax(axis=1))

    @cached_property
    def confidence(self) -> FloatArray:
        """Its probability: (N,)."""
        return np.asarray(np.exp(self.log_probs.max(axis=1).astype(np.float64)))

    @cached_property
    def mistakes(self) -> IntArray:
        """Rows of the wrong predictions, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]

    @cached_property
    def cells(self) -> dict[tuple[int, int], Rate]:
        """The shares of a class that are recognised as each class; the commonest mistakes first."""
        counts = self.measures.confusion
        cells = {
            (int(row), int(column)): stats.wilson(int(counts[row, column]), int(counts[row].sum()))
            for row, column in np.argwhere(counts)
        }
        order = sorted(cells, key=lambda c: (c[0] == c[1], -cells[c].hits, -cells[c].value))
        return {cell: cells[cell] for cell in order}

    @cached_property
    def reliability(self) -> list[tuple[stats.Bin, Rate]]:
        """Groups of predictions by probability, each with its accuracy."""
        return [
            (group, stats.wilson(round(group.accuracy * group.count), group.count))
            for group in self.measures.reliability
        ]

    @property
    def images(self) -> ImageSet | None:
        """The images of the measured part, in the order of the predictions."""
        return getattr(self.data, self.part) if self.data and self.part else None

    def num_images(self) -> str:
        """Count the images of the measured part: "1,000 test images"."""
        return count(len(self.labels), f"{PARTS[self.part]} image")

    def val_rate(self, epoch: Epoch) -> Rate | None:
        """Return an epoch's validation accuracy with its interval."""
        total = self.env.get("counts", {}).get("val", 0)
        if epoch.val_accuracy is None or not total:
            return None
        return stats.wilson(round(epoch.val_accuracy * total), total)

    def image_style(self) -> Markup:
        """Return attributes for images: light ink is shown as ink on paper, others as they are."""
        light = self.preprocess.polarity == "light" and self.preprocess.channels == 1
        side = min(self.preprocess.size, IMAGE_SIDE)
        side *= max(1, round(56 / side))  # a whole number of the image's px
        return Markup(f'class="images {"ink" if light else ""}" style="--side: {side}px"')


def write_report(run: Run, path: Path) -> None:
    """Write the report of a finished run as one HTML page.

    Images are loaded again from where the run found them. What is missing, changed or damaged is
    named on the page, and the rest is shown.

    Raises:
        RunError: if the run is not finished, or its settings cannot be read.
        DataError: if `path` cannot be written.
    """
    facts = collect(run)
    page = render_page(
        run.name,
        "report of a run",
        [
            Section(anchor, title, *parts(facts))
            for anchor, (title, fact, parts) in SECTIONS.items()
            if getattr(facts, fact)
        ],
        headline=headline(facts),
        rate=facts.measures.accuracy if facts.part else None,
        summary=[summary(facts)],
        notices=facts.notices,
    )
    write_atomic(path, page)


def write_plots(run: Run, folder: Path) -> list[str]:
    """Write every plot of a report as PNG, SVG and CSV; return their names.

    Raises:
        RunError, DataError: as `write_report`.
    """
    facts = collect(run)
    drawn = [*learning_plots(facts)]
    drawn += [class_plot(facts)] if facts.data else []
    drawn += [confusion_plot(facts), calibration_plot(facts)] if facts.part else []
    for plot in drawn:
        plot.save(folder)
    return [plot.name for plot in drawn]


def collect(run: Run) -> Facts:
    """Read a run and its images.

    Raises:
        RunError: if the run is not finished, or its settings cannot be read.
    """
    config, classes, notices = run.config, run.classes, []

    def read(function: Callable[[], T], default: T) -> T:
        try:
            return function()
        except SiglumError as error:
            notices.append(str(error))
            return default

    empty: dict[str, Any] | None = {}
    result = read(lambda: run.result, empty)
    if result is None:
        raise RunError(
            f"{run.path} is not finished. Finish it with: siglum train --resume {run.path}"
        )
    env: dict[str, Any] = read(lambda: run.env, {})
    predictions: dict[str, NDArray[Any]] = read(run.predictions, {})
    part = next((part for part in PARTS if len(predictions.get(f"{part}_labels", ()))), "")
    return Facts(
        path=run.path,
        config=config,
        preprocess=run.preprocess,
        classes=classes,
        epochs=read(lambda: run.epochs, []),
        env=env,
        result=result,
        part=part,
        log_probs=predictions[f"{part}_log_probs"] if part else np.zeros((0, len(classes))),
        labels=predictions[f"{part}_labels"] if part else np.zeros(0, int),
        data=read(lambda: _load_same_data(config, classes, env.get("data", {})), None),
        notices=notices,
    )


def _load_same_data(
    config: TrainConfig, classes: tuple[str, ...], fingerprints: dict[str, Any]
) -> Data:
    data = load_data(config, classes)
    for part in ("train", "val", "test"):
        images = getattr(data, part)
        if (images.fingerprint if images else None) != fingerprints.get(part):
            source = config.test if part == "test" and config.test else config.data
            raise DataError(f"No images: the {part} part of {source} changed after the training.")
    return data


def headline(facts: Facts) -> Markup:
    """Return the finding of the run in one sentence."""
    model, part = facts.config.model, facts.part
    if not part:
        return sentence("{} was not measured: no images were held out, and none to test", model)
    accuracy = facts.measures.accuracy
    if len(set(facts.predicted.tolist())) == 1 < len(set(facts.labels.tolist())):
        text = f"{{}} predicts {{}} for every image: {rate_and_interval(accuracy)} correct"
        return sentence(text, model, sign(facts.classes[facts.predicted[0]]))
    spec = facts.config.test if part == "test" and facts.config.test else facts.config.data
    text = f"{{}} recognises {rate(accuracy)} of {facts.num_images()} of {{}}"
    return sentence(f"{text} (95 % CI {interval(accuracy)})", model, source_name(spec))


def summary(facts: Facts) -> Markup:
    """Return what was trained on what, for how long and when, and how certain the headline is."""
    text, names = f"Trained on {count(len(facts.classes), 'class', 'classes')}", []
    if facts.env:
        text += f" with {count(facts.env['counts']['train'], 'image')}"
    if facts.result:
        text += f" for {count(facts.result['epochs'], 'epoch')}, "
        text += duration(facts.result["seconds"])
    if facts.env:
        text += f", on {{}}, {date(facts.env['started'])}"
        names = [facts.env["processor"]]
    text += "."
    if facts.part == "test":
        text += " The test images were not used in training."
    elif facts.part:
        text += " There are no test images; these were held out of the training."
        if facts.config.checkpoint == "best":
            text += " They also chose the checkpoint, which flatters it a little."
    return sentence(text, *names)


def _images_section(facts: Facts) -> Parts:
    finding = count(len(facts.classes), "class", "classes")
    if facts.env:
        finding = f"{count(facts.env['counts']['train'], 'training image')} of {finding}"
    sheet, plot, train = [], None, facts.data.train if facts.data else None
    if train is not None:
        plot = class_plot(facts)
        finding += f": {plot.title}"
        each = min(max(SHEET_IMAGES // len(train.classes), 1), CLASS_IMAGES)
        for label, name in enumerate(train.classes[:SHEET_IMAGES]):
            rows = np.flatnonzero(train.labels == label)
            chosen = rows[np.linspace(0, len(rows) - 1, min(each, len(rows))).round().astype(int)]
            sheet.append((name, len(rows), [image_uri(train, row) for row in chosen]))
    return sentence(finding), render(
        "images.html", facts=facts, sheet=sheet, plot=plot, train=train
    )


def _learning_section(facts: Facts) -> Parts:
    drawn = learning_plots(facts)
    text = f"{drawn[0].title} after {count(len(facts.epochs), 'epoch')}"
    finding = sentence(f"{text}, {duration(facts.epochs[-1].seconds)}")
    return finding, render("learning.html", facts=facts, groups=(drawn[:3], drawn[3:]))


def _confusion_section(facts: Facts) -> Parts:
    finding = sentence(f"No mistakes on {facts.num_images()}")
    (label, predicted), value = next(iter(facts.cells.items()))
    if label != predicted:
        finding = sentence(
            f"Most common mistake: {{}} recognised as {{}}, {value.hits:,} of {value.total:,}",
            sign(facts.classes[label]),
            sign(facts.classes[predicted]),
        )
    labels = plots.short_labels(facts.classes, 10)
    return finding, render("confusion.html", facts=facts, images=_cell_images(facts), labels=labels)


def _cell_images(facts: Facts) -> dict[tuple[int, int], list[tuple[str, float]]]:
    """Return images with probabilities by cell: the surest mistakes, the least sure others."""
    images: dict[tuple[int, int], list[tuple[str, float]]] = {}
    if facts.images is None:
        return images
    room, order = IMAGE_BYTES, np.argsort(-facts.confidence, kind="stable")
    for label, predicted in facts.cells:
        rows = order[(facts.labels[order] == label) & (facts.predicted[order] == predicted)]
        for row in (rows if label != predicted else rows[::-1])[:CELL_IMAGES]:
            uri = image_uri(facts.images, int(row))
            room -= len(uri)
            if room < 0:
                return images
            cell = images.setdefault((label, predicted), [])
            cell.append((uri, float(facts.confidence[row])))
    return images


def _class_section(facts: Facts) -> Parts:
    recalls = facts.measures.recall
    present = [label for label, recall in enumerate(recalls) if recall.total]
    worst = min(present, key=lambda label: (recalls[label].value, -recalls[label].total))
    finding = f"Lowest recall: {{}}, {rate_and_interval(recalls[worst])}"
    if recalls[worst].hits == recalls[worst].total:
        finding = f"All images of all {len(present)} classes are recognised correctly"
    html = render("classes.html", facts=facts)
    name = sign(facts.classes[worst])
    return sentence(finding, name), html


def _mistakes_section(facts: Facts) -> Parts:
    wrong = len(facts.mistakes)
    sure = int((facts.confidence[facts.mistakes] >= SURE).sum())
    finding = f"{wrong:,} of {facts.num_images()} wrong, {sure or 'none'} of them with a "
    finding += f"probability of {percent(SURE, 0)} or more"
    if not wrong:
        high = percent(stats.wilson(0, len(facts.labels)).high)
        finding = f"No mistakes on {facts.num_images()}; the true rate may be up to {high}"
    shown = [
        (row, image_uri(facts.images, row) if facts.images else "")
        for row in facts.mistakes[:MISTAKES].tolist()
    ]
    return sentence(finding), render(
        "mistakes.html", facts=facts, shown=shown, kind=PARTS[facts.part]
    )


def _calibration_section(facts: Facts) -> Parts:
    plot = calibration_plot(facts)
    html = render("calibration.html", plot=plot, rows=facts.reliability)
    return sentence(plot.title), html


def _settings_section(facts: Facts) -> Parts:
    default, rows = TrainConfig(model=facts.config.model), []
    for name, field in TrainConfig.model_fields.items():
        value, usual = getattr(facts.config, name), getattr(default, name)
        differs = value != usual and name not in ("data", "epochs", "model")
        if name in ("mean", "std") and value is None:
            value = f"{getattr(facts.preprocess, name):.6g}, measured"
        rows.append((name, value, usual, differs, field.description or ""))
    finding = f"{sum(row[3] for row in rows)} of {len(rows)} settings differ from the defaults of "
    html = render("settings.html", facts=facts, rows=rows, parts={"train": "training", **PARTS})
    return sentence(finding + "{}", facts.config.model), html


def _reproduce_section(facts: Facts) -> Parts:
    steps, missing = training_chain(facts.path, facts.config)
    html = render("reproduce.html", facts=facts, steps=steps, missing=missing)
    finding = f"{count(len(steps), 'command')} to train it again"
    finding += ", the parent first" if len(steps) > 1 else ""
    return sentence(finding), html


# By anchor: title, the fact without which there is no such section, and its parts.
SECTIONS: dict[str, tuple[str, str, Callable[[Facts], Parts]]] = {
    "images": ("Training images", "classes", _images_section),
    "learning": ("Learning", "epochs", _learning_section),
    "confusion": ("Confusion matrix", "part", _confusion_section),
    "classes": ("Classes", "part", _class_section),
    "mistakes": ("Mistakes", "part", _mistakes_section),
    "calibration": ("Calibration", "part", _calibration_section),
    "settings": ("Settings", "config", _settings_section),
    "reproduce": ("Reproduce", "config", _reproduce_section),
}


def training_chain(path: Path, config: TrainConfig) -> tuple[list[tuple[str, str, str]], str]:
    """Return the commands that train a run, its parents first, and why the chain is incomplete.

    Each command comes with the name and the text of the CSV file of class renames that it needs.
    """
    steps: list[tuple[str, str, str]] = []
    out = ""
    while len(steps) < 20:
        file, renames = f"{path.name}-classes.csv", io.StringIO()
        csv.writer(renames, lineterminator="\n").writerows(config.rename.items())
        steps.insert(0, (train_command(config, file, out), file, renames.getvalue()))
        if config.init in ("scratch", "torchvision") or config.init.startswith("file:"):
            break
        path, out = Path(config.init), config.init
        try:
            config = Run(path).config
        except SiglumError as error:
            return steps, str(error)
    return steps, ""


def train_command(config: TrainConfig, renames: str = "classes.csv", out: str = "") -> str:
    """Return the command that trains with `config`, quoted for a shell; defaults are omitted.

    Args:
        renames: CSV file of class renames, to be written before.
        out: The run's folder, if it must have a certain one.
    """
    usual = TrainConfig(model=config.model)
    line = ["siglum", "train", config.data]
    for name, field in TrainConfig.model_fields.items():
        value, flag = getattr(config, name), f"--{name.replace('_', '-')}"
        default = field.default if name == "model" else getattr(usual, name)
        if name == "data" or value == default:
            continue
        if name == "rename":
            line += ["--rename", renames]
        elif isinstance(value, bool):
            line.append(flag if value else f"--no-{flag[2:]}")
        elif value == ():
            line.append(f"--empty-{flag[2:]}")
        else:
            pairs = [(flag, value)]
            if isinstance(value, dict):
                pairs = [(f"{flag}.{key}", item) for key, item in value.items()]
            elif isinstance(value, tuple):
                pairs = [(flag, item) for item in value]
            for flag, item in pairs:  # one word where the value looks like a flag
                line += [f"{flag}={item}"] if str(item).startswith("-") else [flag, str(item)]
    return shlex.join(line + (["-o", out] if out else []))


def class_plot(facts: Facts) -> Plot:
    """Draw the number of training images of each class."""
    assert facts.data is not None
    classes, counts = facts.classes, facts.data.train.counts
    low, high = int(counts.min()), int(counts.max())

    def draw(palette: Palette) -> Figure:
        labels = plots.short_labels(classes, 12)
        turned = max(map(len, labels)) > 2
        bottom = 12 + 8 * max(map(len, labels)) if turned else 28
        width = min(max(16 * len(classes), 240), 960) + 60
        with plots.axes(palette, width, 160 + bottom, right_margin=12, bottom_margin=bottom) as (
            figure,
            axes,
        ):
            axes.bar(range(len(classes)), counts, color=palette.series[0])
            axes.set_xlim(-0.6, len(classes) - 0.4)
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.set_xticks(range(len(classes)), labels, rotation=90 if turned else 0, fontsize=11)
            axes.tick_params(axis="x", length=0, labelcolor=palette.ink)
            return figure

    columns: dict[str, Sequence[object]] = {"class": classes}
    columns |= {
        f"{part} images": images.counts.tolist()
        for part in ("train", "val", "test")
        if (images := getattr(facts.data, part)) is not None
    }
    title = f"{low:,} of each class" if low == high else f"{low:,} to {high:,} of each class"
    caption = f"Training images of {count(len(classes), 'class', 'classes')}."
    return Plot("images-per-class", title, draw, columns, caption)


def learning_plots(facts: Facts) -> list[Plot]:
    """Draw accuracy, then loss, each against epochs, images and seconds."""
    epochs = facts.epochs
    if not epochs:
        return []
    last, held = epochs[-1], facts.val_rate(epochs[-1])
    accuracies = [e.train_accuracy for e in epochs] + [e.val_accuracy or 1.0 for e in epochs]
    floor = min(math.floor(10 * min(accuracies)) / 10, 0.9)
    part, accuracy, loss = "Validation", last.val_accuracy, last.val_loss
    if accuracy is None or loss is None:
        part, accuracy, loss = "Training", last.train_accuracy, last.train_loss
    reached = rate(held) if held else percent(accuracy)
    titles = {
        "accuracy": f"{part} accuracy {reached}",
        "loss": f"{part} loss {number(loss)} nats per image",
    }
    caption = f"Validation: {count(held.total, 'image')}, with 95 % CI. " if held else ""
    caption += "Training: means within an epoch"
    caption += ", on augmented images." if facts.config.augment else "."
    notes = {"accuracy": f" The axis starts at {percent(floor, 0)}." if floor else "", "loss": ""}
    names = [field.name for field in fields(Epoch) if field.name != "curve"]
    columns = {name: [getattr(epoch, name) for epoch in epochs] for name in names}
    places: dict[str, Callable[[Point | Epoch], float]] = {
        "epochs": lambda at: at.examples / epochs[0].examples,
        "images": lambda at: at.examples,
        "seconds of training": lambda at: at.seconds,
    }

    def plot(measure: str, x: str, place: Callable[[Point | Epoch], float]) -> Plot:
        def draw(palette: Palette) -> Figure:
            points = [point for epoch in epochs for point in epoch.curve]
            size = math.ceil(len(points) / CURVE_POINTS)
            groups = [points[i : i + size] for i in range(0, len(points), size)]
            val = [epoch for epoch in epochs if getattr(epoch, f"val_{measure}") is not None]
            train_colour, val_colour = palette.series[1], palette.series[0]
            with plots.axes(palette, 336, 232, right_margin=92) as (figure, axes):
                xs = [place(group[-1]) for group in groups]
                ys = [float(np.mean([getattr(at, measure) for at in group])) for group in groups]
                axes.plot(xs, ys, color=train_colour, linewidth=1.25)
                ends = [(xs[-1], ys[-1], "training", train_colour)]
                if val:
                    xs = [place(epoch) for epoch in val]
                    ys = [getattr(epoch, f"val_{measure}") for epoch in val]
                    marker = "o" if len(val) <= 30 else ""
                    axes.plot(xs, ys, marker, ls="-", color=val_colour, ms=4, clip_on=False)
                    ends.append((xs[-1], ys[-1], "validation", val_colour))
                rates = [value for epoch in val if (value := facts.val_rate(epoch))]
                if rates and measure == "accuracy":
                    low, high = [value.low for value in rates], [value.high for value in rates]
                    axes.fill_between(xs, low, high, color=val_colour, alpha=0.15, linewidth=0)
                axes.set_xlim(0, xs[-1])
                axes.set_ylim(0, None)
                if measure == "accuracy":
                    axes.set_ylim(floor, 1)
                    plots.percent_axis(axes.yaxis)
                axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
                axes.xaxis.set_major_locator(MaxNLocator(4, integer=x == "epochs", min_n_ticks=1))
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
                axes.set_xlabel(x)
                plots.label_ends(axes, ends)
                return figure

        name = f"{measure}-{x.split()[0]}"
        return Plot(name, titles[measure], draw, columns, caption + notes[measure])

    return [plot(measure, x, place) for measure in titles for x, place in places.items()]


def confusion_plot(facts: Facts) -> Plot:
    """Draw the confusion matrix, for files."""
    classes, counts = facts.classes, facts.measures.confusion

    def draw(palette: Palette) -> Figure:
        labels = plots.short_labels(classes, 12)
        side, edge = max(16 * len(classes), 240), 32 + 8 * max(map(len, labels))
        size = side + edge + 12
        with plots.axes(
            palette, size, size, left_margin=edge, right_margin=12, bottom_margin=edge
        ) as (figure, axes):
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axes.imshow(np.sqrt(shares), cmap=plots.gradient(palette), vmin=0, vmax=1)
            axes.grid(False)
            axes.set_xticks(range(len(classes)), labels, rotation=90, fontsize=11)
            axes.set_yticks(range(len(classes)), labels, fontsize=11)
            axes.tick_params(length=0, labelcolor=palette.ink)
            axes.set_xlabel("predicted class")
            axes.set_ylabel("true class")
            return figure

    columns: dict[str, Sequence[object]] = {"true class": classes}
    columns |= {f"predicted {name}": counts[:, k].tolist() for k, name in enumerate(classes)}
    title = f"{rate_and_interval(facts.measures.accuracy)} correct"
    caption = f"{facts.num_images()}; darker is a larger share of the row."
    return Plot("confusion", title, draw, columns, caption)


def calibration_plot(facts: Facts) -> Plot:
    """Draw accuracy against probability: the reliability diagram."""
    measures, groups = facts.measures, facts.reliability
    columns: dict[str, Sequence[object]] = {
        "images": [group.count for group, _ in groups],
        "probability": [group.confidence for group, _ in groups],
        "accuracy": [value.value for _, value in groups],
        "low": [value.low for _, value in groups],
        "high": [value.high for _, value in groups],
    }

    def draw(palette: Palette) -> Figure:
        x, y, low, high = (np.array(columns[name], float) for name in [*columns][1:])
        with plots.axes(palette, 480, 400, left_margin=56, right_margin=120, top_margin=32) as (
            figure,
            axes,
        ):
            axes.plot([0, 1], [0, 1], color=palette.quiet, linewidth=1, linestyle=plots.DASHED)
            plots.label_ends(axes, [(1, 1, "calibrated", palette.quiet)])
            errors, colour = (y - low, high - y), palette.series[0]
            axes.errorbar(x, y, errors, fmt="o", color=colour, elinewidth=1.25, clip_on=False)
            axes.set_xlim(0, 1.01)
            axes.set_ylim(0, 1.01)
            plots.percent_axis(axes.xaxis)
            plots.percent_axis(axes.yaxis)
            axes.set_xlabel("probability of the prediction")
            axes.set_title("accuracy", loc="left", fontsize=plots.TEXT, color=palette.quiet)
            return figure

    mean, accuracy = float(facts.confidence.mean()), measures.accuracy
    verdict = "Calibrated on average" if mean <= accuracy.high else "Overconfident"
    verdict = "Underconfident" if mean < accuracy.low else verdict
    title = f"{verdict}: mean probability {percent(mean)}, accuracy {rate(accuracy)}"
    caption = (
        f"{facts.num_images()} in {count(len(groups), 'group')} by probability, with 95 % CI. "
        f"Expected calibration error {percent(measures.ece)}; negative log-likelihood "
        f"{number(measures.loss)} nats per image."
    )
    return Plot("calibration", title, draw, columns, caption)


def image_uri(images: ImageSet, index: int) -> str:
    """Return an image of a set as a data URI; of several planes the ink or the colours."""
    planes = images.take(np.array([index]))[0]
    pixels = planes.transpose(1, 2, 0) if len(planes) == 3 else planes[0]
    image, file = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    image.thumbnail((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BOX)
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
