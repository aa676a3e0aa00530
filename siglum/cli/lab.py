"""Commands of the laboratory, which need PyTorch; heavier libraries are imported late."""

import multiprocessing
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter
from pydantic import Field

from siglum import formatting, stats
from siglum.cli import terminal
from siglum.config import InputSettings, Option, Preprocess, TrainConfig, TrainSettings, build
from siglum.errors import ConfigError, DataError, RunError, SiglumError, Stopped, choose
from siglum.files import read_toml, write_atomic
from siglum.images import sources
from siglum.images.cache import Progress
from siglum.lab import distributed, train_run, training_loop, transfer
from siglum.lab.device import CORES, Device, choose_device
from siglum.lab.run_folder import CONFIG, Run, find_runs, next_path

if TYPE_CHECKING:
    from siglum.lab.study import Cell

MAX_MATRIX = 16  # classes of a matrix that is printed
STRAGGLER = 2.0  # times the median seconds per epoch of a study
MAX_ISSUES = 20  # label issues that are printed; --json has all
NOTE = "Made by 'siglum label-issues'. Correct a label in the column new; or delete a line."


class Flags(TrainSettings):
    """The settings on the command line; `data` and `rename` are arguments of their own."""

    data: Annotated[str, Parameter(parse=False)] = "mnist5k"
    rename: Annotated[dict[str, str], Parameter(parse=False)] = {}  # noqa: RUF012 - pydantic copies


class InputFlags(InputSettings):
    """The input of a network that is not a run; of torchvision's networks it is ImageNet's."""

    mean: float = 0.1307
    """Mean of bytes / 255 that a network with --weights expects; as PyTorch's MNIST example."""
    std: float = Field(0.3081, gt=0)
    """Standard deviation of bytes / 255 that it expects."""
    model_options: dict[str, Option] = {}  # noqa: RUF012 - pydantic copies
    """Arguments of its constructor."""


NO_FLAGS, NO_INPUT_FLAGS = Flags(), InputFlags()
Input = Annotated[InputFlags, Parameter(name="*")]
Weights = Annotated[Path | None, Parameter(help="Weights of a network, .pth or .safetensors.")]
NEGATABLE = Parameter(name="*", negative_bool="no-", negative_iterable="empty-")


def train(
    source: str | None = None,
    /,
    *,
    settings: Annotated[Flags, NEGATABLE] = NO_FLAGS,
    config: Path | None = None,
    rename: terminal.Renames = None,
    out: terminal.Out = None,
    resume: Path | None = None,
    repeats: int | None = None,
    device: terminal.Device = "auto",
    precision: terminal.Precision = "auto",
    threads: terminal.Threads = 0,
    log: Literal["tensorboard"] | None = None,
    json: terminal.Json = False,
) -> None:
    """Train a network and save it as a run: a folder with its weights, settings and metrics.

    With --folds and without --fold, cross-validate: every image is predicted by networks that were
    not trained on it. Ctrl-C stops between two steps; --resume continues bit-identically.

    Example: siglum train mnist5k -o runs/first
    Example: siglum train folder:my-signs --folds 5 --repeats 10 -o runs/cv
    Example: siglum train --resume runs/first
    Example: siglum train mnist5k --init runs/first -o runs/longer

    Args:
        source: The training images: mnist5k (the default), a folder, an archive, mnist, ...
        config: A TOML file of settings; options on the command line take precedence.
        out: The run's folder, which must not exist; runs/MODEL-SOURCE-NUMBER by default.
        resume: Resume this unfinished run. To train a finished one for more epochs, use --init.
        repeats: Repetitions of a cross-validation, each with its own seed; 1 by default.
        log: Also write the metrics of each epoch for TensorBoard, to RUN/tensorboard.
    """
    wanted = {} if config is None else read_toml(config, "config")
    flags = settings.model_dump(exclude_unset=True)
    if isinstance(options := wanted.get("model_options"), dict) and "model_options" in flags:
        flags["model_options"] = options | flags["model_options"]
    wanted |= flags
    wanted |= {} if source is None else {"data": source}
    wanted |= {} if rename is None else {"rename": terminal.read_renames(rename)}
    if resume is not None:
        if unused := [*wanted, *["out"] * (out is not None)]:
            remedy = f"For more epochs: siglum train SOURCE --init {resume} -o NEW"
            rule = "A run resumes in its folder, with its own settings: leave out"
            raise ConfigError(f"{rule} {', '.join(unused)}. {remedy}")
        path, run = resume, Run(resume)
        before = run.env["device"]
        device = before["device"] if device == "auto" else device
        precision = before["precision"] if precision == "auto" else precision
        target = choose_device(device, precision, threads or before["threads"])
        start = partial(train_run.resume, run, target)
    else:
        chosen, target = build(TrainConfig, wanted), choose_device(device, precision, threads)
        path = out or next_path(Path("runs"), chosen)
        if chosen.folds and "fold" not in wanted:
            if log is not None:
                raise ConfigError("log is for one training. Leave it out, or choose a --fold.")
            _cross_validate(chosen, path, target, 1 if repeats is None else repeats, json)
            return
        start = partial(train_run.train, chosen, path, target)
    if repeats is not None:
        raise ConfigError("repeats needs --folds. Add --folds 5, and leave out --fold.")
    is_quiet = distributed.rank() > 0
    with terminal.progress_line(training=True, quiet=is_quiet) as line:
        watch: train_run.Watch = line.watch
        if log:
            watch = train_run.tensorboard_writer(path / "tensorboard", watch)
        run = start(watch, line.load)
    if is_quiet:
        return
    record = {"run": str(run.path), **(run.result or {})}
    if json:
        terminal.print_json(record)
        return
    images = formatting.count(run.env["counts"]["train"], "training image")
    facts = {"data": f"{run.config.data}: {images}", "model": run.config.model}
    terminal.print_facts(facts | {"start": transfer.describe(run)} | record)


def _cross_validate(
    config: TrainConfig, folder: Path, device: Device, repeats: int, json: bool
) -> None:
    from siglum.lab import study as studies
    from siglum.report.compare import headline

    if distributed.num_processes() > 1:
        raise ConfigError("folds is for one process. Choose a --fold, or leave out torchrun.")
    with terminal.progress_line(training=True) as line:
        start = partial(_start, line, None)
        try:
            comparison = studies.cross_validate(config, folder, device, repeats, start, line.load)
        except Stopped:
            raise Stopped(f"Stopped. Resume with the same command and -o {folder}") from None
    path = folder / studies.OUT_OF_FOLD
    with np.load(path) as arrays:  # log_probs (R, N, K), labels (N,), classes (K,)
        log_probs, classes = arrays["log_probs"], tuple(map(str, arrays["classes"]))
        labels = np.tile(arrays["labels"], len(log_probs))
    pooled = log_probs.reshape(-1, len(classes))
    measures = stats.measure(pooled, labels, len(classes), repeats)
    about = {"run": str(folder), "headline": headline(comparison), "predictions": str(path)}
    print_measures(about, measures, classes, json)


@contextmanager
def _open(
    network: Path,
    weights: Path | None,
    settings: dict[str, Any],
    source: str | None,
    out: Path | None,
    device: Device,
) -> Iterator[tuple[Run, Progress]]:
    """Open a run; or import a network as one, by default in a temporary folder."""
    unused = [*settings, *(["out"] if out else [])]
    if weights is None and unused:
        raise ConfigError(f"{unused[0]} is for a network, together with --weights.")
    if weights is not None and (network / CONFIG).is_file():
        raise ConfigError(f"{network} is a run, with weights of its own. Leave out --weights.")
    with terminal.progress_line() as line, TemporaryDirectory(prefix="siglum-") as folder:
        if weights is None:
            run = Run(network)
        else:
            path = out or Path(folder) / network.name.rpartition(":")[2]
            options = (path, device, source, settings, line.load)
            run = train_run.import_network(str(network), weights, *options)
        yield run, line.load


def evaluate(
    run: Path,
    source: str | None = None,
    /,
    *,
    weights: Weights = None,
    settings: Input = NO_INPUT_FLAGS,
    out: terminal.Out = None,
    part: Literal["train", "val", "test"] | None = None,
    rename: terminal.Renames = None,
    merge: Path | None = None,
    checkpoint: terminal.Checkpoint = None,
    device: terminal.Device = "auto",
    json: terminal.Json = False,
) -> None:
    """Measure a run on images that it was not trained on.

    Without SOURCE these are its test images, or its validation images if it has no test part.
    Prints accuracy with its 95 % interval (Wilson), precision and recall of each class, the
    confusion matrix (up to 16 classes), negative log-likelihood and expected calibration error.

    A network that is not a run is measured with --weights. Its file.py runs with your rights.

    Example: siglum evaluate runs/first
    Example: siglum evaluate runs/first --part val --merge confusables.csv
    Example: siglum evaluate my_net.py:MyNetwork --weights model.pth idx:MNIST/raw -o runs/mine

    Args:
        run: A run's folder; or file.py:Class, or a network of torchvision, with --weights.
        source: Other images to measure on: the test part of a source, or all of it.
        out: Keep the network with --weights as a run, for examine, compare and report.
        part: Measure on this part of the run's own images instead.
        merge: A CSV file of lines class,group: the probabilities of a group's classes are added,
            and any of them is correct for any other. A class without a line is its own group.
            Classes may also have the names from before the run's --rename.
    """
    groups, renames = terminal.read_renames(merge, "merge"), terminal.read_renames(rename)
    if source is None and weights is not None:
        raise ConfigError(f"Give a SOURCE to measure {run} on.")
    if source is None and rename is not None:
        raise ConfigError("rename renames the classes of SOURCE. Give a SOURCE, or leave it out.")
    if source is not None and part is not None:
        raise ConfigError(f"part {part!r} is a part of the run's own images. Leave out {source}.")
    target = choose_device(device, "float32")
    described = settings.model_dump(exclude_unset=True) | ({"rename": renames} if weights else {})
    with _open(run, weights, described, source, out, target) as (opened, see):
        classes, config, result = opened.classes, opened.config, opened.result or {}
        own = sources.own_part(source, config.data) if source and rename is None else None
        if weights or own == "":  # measured already; or its training images are in it
            source, part = None, "val" if config.test not in (None, config.data) else part
        if source is None:
            name, log_probs, labels = train_run.predict_part(opened, part, checkpoint, target, see)
            trained = (opened.env["init"] or {"trained": {}})["trained"].get(name, 0)
            if name == "train" and not opened.imported:
                trained = len(labels)
            headline = f"{train_run.PARTS[name]} images"
            source = (config.test if name == "test" else None) or config.data
        else:
            name = headline = sources.test_part(source)
            chosen = config.model_dump(include={"rename", "classes", "writers"})
            chosen = {"rename": renames} if own is None else chosen
            images = sources.load(source, name, opened.preprocess, **chosen, progress=see)
            images = images.with_classes(classes)
            model, labels = target.to(opened.model(checkpoint)), images.labels
            log_probs = training_loop.evaluate(model, images, opened.preprocess, target)
            trained = train_run.count_trained(opened, {name: images}, config, see)[name]
    if trained != 0:
        number = "an unknown number" if trained is None else f"{trained:,}"
        headline += f"; the run was trained on {number} of these {len(labels):,} images"
    if groups:
        groups = {config.rename.get(name, name): group for name, group in groups.items()}
        classes, log_probs, labels = merge_classes(classes, groups, log_probs, labels)
    record: dict[str, Any] = {"run": str(out or run), "source": source, "part": name}
    predicted, record["warning"] = np.unique(log_probs.argmax(axis=1)), None
    if len(predicted) == 1 < len(np.unique(labels)):
        record["warning"] = f"predicts class {classes[int(predicted[0])]} for every image"
    if json:
        trained = None if result.get("imported") else trained  # elsewhere: unknown
        record |= {"trained_on": trained, "parameters": result.get("parameters")}
    else:
        record |= {"part": None, "source": f"{source} ({headline})"}
    print_measures(record, stats.measure(log_probs, labels, len(classes)), classes, json)


def grade(
    folder: Path,
    /,
    *,
    test: str,
    out: terminal.NewFile,
    settings: Input = NO_INPUT_FLAGS,
    class_name: Annotated[str | None, Parameter(name="--class")] = None,
    timeout: float = 60.0,
    memory: float = 4.0,
) -> None:
    """Measure every hand-in of a folder, and write a table of marks.

    A hand-in is a folder NAME with a .py file and weights, the files NAME.py and NAME.pth, or a
    run NAME. Their code runs with your rights, in processes with limits of time and memory:
    docs/grading.md says what these protect against.

    Example: siglum grade hand-ins --test archive:hidden.zip -o marks.csv

    Args:
        folder: The folder of hand-ins.
        test: The images to measure on: the test part of a source, or all of it.
        out: The table, a .csv file, written anew after every hand-in.
        class_name: Class of the network; by default the only one that no other class uses.
        timeout: Seconds that the process of a hand-in may take.
        memory: GiB that it may allocate, or write to a file; on Linux only.
    """
    from siglum.lab import grade as lab

    if out.suffix != ".csv":
        raise ConfigError(f"out must end in .csv, got {out}.")
    if not all(0 < limit < 1e6 for limit in (timeout, memory)):
        raise ConfigError(f"timeout and memory must be above 0 (below 1e6): {timeout}, {memory}.")
    described = settings.model_dump(exclude_unset=True)
    kind, spec, place = sources.locate(test)
    source = f"{kind}:{place.resolve()}" if ":" in spec and "://" not in spec else spec
    options = [f"--{n.replace('_', '-')}={v}" for n, v in described.items() if n != "model_options"]
    options += [f"--model-options.{n}={v}" for n, v in described.get("model_options", {}).items()]
    records: list[dict[str, Any]] = []
    with terminal.progress_line() as line:
        preprocess = build(Preprocess, settings.model_dump(exclude={"model_options"}))
        sources.load(source, sources.test_part(source), preprocess, progress=line.load)
        for row in lab.grade(folder, source, class_name, options, timeout, memory, line.load):
            records.append(row)
            write_atomic(out, terminal.to_csv(records))
    terminal.print_table(records[0], (map(terminal.format_value, r.values()) for r in records))


def print_measures(
    about: dict[str, Any], measures: stats.Measures, classes: tuple[str, ...], json: bool
) -> None:
    """Print what was measured, accuracy, loss and calibration, and tables of the classes."""
    record = {"classes": classes, **asdict(measures), "confusion": measures.confusion.tolist()}
    if json:
        terminal.print_json(about | record)
        return
    facts = {
        "accuracy": record["accuracy"],
        "loss": f"{measures.loss:.4f} nats per image (negative log-likelihood)",
        "calibration": f"{measures.ece:.4f} between probability and accuracy, on average (ECE)",
    }
    terminal.print_facts(about | facts)
    print()
    rows = []
    digits = formatting.percent_digits(max(rate.total for rate in measures.recall))
    for index, name in enumerate(classes):
        rates = measures.recall[index], measures.precision[index]
        cells = [f"{formatting.rate(r, digits)} ({formatting.interval(r, digits)})" for r in rates]
        others = measures.confusion[index] * (np.arange(len(classes)) != index)
        confused = f"{classes[int(others.argmax())]}: {others.max()}" if others.any() else ""
        rows.append((name, rates[0].total, *cells, confused))
    columns = ("class", "images", "recall (95 % CI)", "precision (95 % CI)", "confused with")
    terminal.print_table(columns, rows)
    if len(classes) <= MAX_MATRIX:
        print("\nrows: true class; columns: prediction")
        matrix = np.where(measures.confusion, measures.confusion.astype(str), "·")
        terminal.print_table(("", *classes), np.column_stack([classes, matrix]))


def merge_classes(
    classes: tuple[str, ...],
    groups: dict[str, str],
    log_probs: stats.FloatArray,
    labels: stats.IntArray,
) -> tuple[tuple[str, ...], stats.FloatArray, stats.IntArray]:
    """Add up the probabilities of each group; a class without a group is its own."""
    for name in groups:
        choose(dict.fromkeys(classes), name, "class of merge")
    group = [groups.get(name, name) for name in classes]
    names = tuple(dict.fromkeys(group))
    index = np.array([names.index(name) for name in group])
    probs = np.exp(log_probs.astype(np.float64)) @ (index[:, None] == np.arange(len(names)))
    return names, np.log(np.maximum(probs, np.finfo(np.float64).tiny)), index[labels]


def report(
    run: Path,
    /,
    *others: Path,
    out: terminal.Out = None,
    plots: Path | None = None,
    hand_in: bool = False,
    title: str = "",
    author: str = "",
    text: Path | None = None,
    paper: Literal["A4", "letter"] = "A4",
) -> None:
    """Write the report of a run: one HTML page that opens anywhere, without a network.

    With --hand-in, write one or several runs as a document to hand in: numbered figures, tables,
    the commands that repeat it, sources, and your words. Chromium, Chrome or Edge makes the PDF;
    without one the document is an HTML page to print. SIGLUM_CHROMIUM can name the browser.

    Example: siglum report runs/first --plots figures
    Example: siglum report runs/a runs/b --hand-in --text words.md --author "Ada Lovelace"

    Args:
        others: Further runs, with --hand-in.
        out: The page, a .html file; report.html in the run's folder by default. With --hand-in a
            .pdf or .html file; hand-in.pdf by default.
        plots: Write every plot to this folder instead, as PNG, SVG and CSV.
        hand_in: Write a document to hand in.
        title: Title of the document; without it there is room to write it, as for --author.
        text: Your words, a Markdown file whose headings name their place: Introduction, a run,
            "Figure 3", Conclusion. Without it there is room to write.
        paper: Paper of the document.
    """
    if hand_in:
        from siglum.examine.hand_in import render_hand_in, write_hand_in

        path = out or Path("hand-in.pdf")
        if path.suffix.lower() not in (".pdf", ".html", ".htm"):
            raise ConfigError(f"out must end in .pdf or .html, got {str(path)!r}.")
        runs = [Run(folder) for folder in dict.fromkeys((run, *others))]
        today = formatting.date(datetime.now().isoformat())
        document = render_hand_in(runs, title, text, author=author, today=today, paper=paper)
        terminal.print_line(write_hand_in(document, path), lines=True)
        return
    if others or title or author or text:
        raise ConfigError("Several runs, --title, --author and --text need --hand-in.")
    if plots is not None:
        from siglum.report.sections import Facts, draw_plots

        for plot in draw_plots(Facts(Run(run))).values():
            plot.save(plots)
            terminal.print_line(f"Plot: {plots / plot.name}.png, .svg, .csv")
        if out is None:
            return
    path = out or run / "report.html"
    if path.suffix.lower() not in (".html", ".htm"):
        remedy = f"For images: siglum report {run} --plots DIR"
        raise ConfigError(f"out must end in .html, got {str(path)!r}. {remedy}")
    terminal.print_line(f"Report: {Run(run).report(path)}")


def examine(
    run: Path,
    /,
    *files: Path,
    weights: Weights = None,
    settings: Input = NO_INPUT_FLAGS,
    data: str | None = None,
    out: terminal.Out = None,
    save: Path | None = None,
    only: tuple[str, ...] = (),
    layer: str | None = None,
    part: Literal["test", "val", "train"] | None = None,
    count: int | None = None,
    image: tuple[int, ...] = (),
    wrong: bool = False,
    checkpoint: terminal.Checkpoint = None,
    device: terminal.Device = "auto",
    json: terminal.Json = False,
) -> None:
    """Look inside a network: layers, filters, feature maps, attributions, predictions.

    Without --only, one page with all panels. With it, those panels: layers, diagram, printout,
    first, filters, responses, maps, saliency, integrated_gradients, occlusion, attention, answers,
    predictions, nearest or embedding.

    A network that is not a run is examined with --weights. Its file.py runs with your rights.

    Example: siglum examine runs/first three.png --only saliency -o three.png
    Example: siglum examine my_net.py:MyNetwork --weights model.pth --data idx:MNIST/raw
    Example: siglum examine resnet18 --weights resnet18-f37072fd.pth photo.jpg

    Args:
        run: A run's folder; or file.py:Class, or a network of torchvision, with --weights.
        data: Images for a network with --weights.
        files: Image files; by default the run's test images, or its validation images.
        out: An .html page, or one panel as .png, .svg, .npz (arrays), .csv or .txt.
        save: Write every panel to this folder, as PNG and SVG, CSV and NPZ.
        only: Panel to show; repeat for several.
        layer: Layer whose filters and maps are shown; the first convolution and all by default.
        count: Number of images; each panel has its own default.
        image: Number of an image of the part, from 1; repeat for several.
        wrong: Only misclassified images.
        json: Print arrays of up to two dimensions as JSON.
    """
    from siglum.examine import Examination
    from siglum.examine.panels import PANELS, run_panel, write_page
    from siglum.report.page import cell_text

    names = list(dict.fromkeys(only)) or [*PANELS]
    for name in names:
        choose(PANELS, name, "only")
    as_page = out.suffix == ".html" if out else not (save or only or json)
    if out and not as_page and len(names) > 1:
        remedy = "Name one with --only, or write all to a folder with --save DIR."
        raise ConfigError(f"out must end in .html for {len(names)} panels, got {out}. {remedy}")
    if data is not None and weights is None:
        raise ConfigError("A run has images of its own. Leave out --data, or name image files.")
    target, results = choose_device(device, "float32"), {}
    described = settings.model_dump(exclude_unset=True)
    with _open(run, weights, described, data, None, target) as (opened, see):
        with redirect_stdout(sys.stderr):  # the network may print
            shown = (files, part, layer, count, checkpoint, image, wrong)
            examination = Examination(opened, target, *shown)
            for number, name in enumerate(names, 1):
                see(f"panel {name}", number, len(names))
                results[name] = run_panel(examination, name)
        if as_page:
            path = out or (Path() if weights else run) / "examine.html"
            write_page(examination, results, path)
            terminal.print_line(f"Page: {path}")
            return
    arrays = {}
    for name, result in results.items():
        if save is not None:
            for suffix, content in result.files().items():
                write_atomic(save / f"{name}{suffix}", content)
            terminal.print_line(f"{name}: {result.finding}")
            continue
        if result.missing and only:
            raise ConfigError(result.finding)
        if json:
            arrays[name] = {k: v.tolist() for k, v in result.arrays.items() if v.ndim <= 2}
            continue
        if out or result.figure:
            path = out or Path(f"{name}.png")
            write_atomic(path, choose(result.files(), path.suffix, "suffix of out"))
            terminal.print_line(f"File: {path}")
        terminal.print_line(f"{result.finding}.")
        if result.table:
            rows = [map(cell_text, row) for row in result.table.rows]
            terminal.print_table(result.table.columns, rows)
        if result.text:
            print(result.text)
    if json:
        terminal.print_json(arrays)


def compare(
    *runs: Path, out: terminal.Out = None, plots: Path | None = None, json: terminal.Json = False
) -> None:
    """Compare ways of training: which is more accurate, and how certain that is.

    Runs that differ in the seed alone are one variant. docs/comparing.md explains the result.

    Example: siglum compare runs/a-1 runs/a-2 runs/b-1 runs/b-2 -o compared.html

    Args:
        out: Write a page, .html, or the numbers, .json or .csv.
        plots: Write every plot into this folder, as PNG, SVG and CSV.
    """
    from siglum.lab.compare import compare_runs, group_runs
    from siglum.report import compare as page

    variants = group_runs(Run(path) for path in runs)
    if len(variants) < 2:
        remedy = "Give runs that differ in more than the seed."
        number = f"{len(variants)} in {len(runs)} runs"
        raise ConfigError(f"compare needs at least 2 variants, got {number}. {remedy}")
    comparison = compare_runs(variants)
    if out is not None:
        page.write_comparison(comparison, out, f"{len(variants)} variants")
    if plots is not None:
        for plot in page.draw(comparison):
            plot.save(plots)
    if json:
        terminal.print_json(page.to_json(comparison))
        return
    terminal.print_line(page.headline(comparison))
    tables = page.tables(comparison)
    for name in ("variants", "pairs"):
        print()
        terminal.print_table(tables[name].columns, tables[name].rows)


def study(
    action: Literal["run", "list", "report"],
    file: Path,
    /,
    *,
    variant: tuple[str, ...] = (),
    seed: tuple[int, ...] = (),
    folder: Path = Path("runs/studies"),
    out: terminal.Out = None,
    jobs: int = 1,
    ray: str | None = None,
    device: terminal.Device = "auto",
    precision: terminal.Precision = "auto",
    threads: terminal.Threads = 0,
    json: terminal.Json = False,
) -> None:
    """Run a study, list its runs, or write its report.

    A study that was stopped or killed resumes with the same command. Several processes may work
    on one study, or on several that share runs. docs/studies.md explains study files.

    Example: siglum study run studies/encoder.toml --jobs 2
    Example: siglum study run studies/encoder.toml --ray auto
    Example: siglum study report studies/encoder.toml -o encoder.html

    Args:
        file: The study, a TOML file.
        variant: Only this variant; may be repeated.
        seed: Only this seed; may be repeated.
        folder: The folder of the runs.
        out: The report, .html, .json or .csv; FOLDER/STUDY.html by default.
        jobs: Processes that train side by side and share the cores.
        ray: Train on a Ray cluster: auto for the running one, its address, or local for a new one
            of this machine. Each training has one CPU, or --threads.
    """
    from siglum.lab.study import collect, next_cells, read_study

    wanted = read_study(file, folder)
    cells = wanted.select(variant, seed)
    if action == "report":
        if variant or seed:
            raise ConfigError("A report is of the whole study. Leave out --variant and --seed.")
        from siglum.lab.compare import compare_runs
        from siglum.report.compare import write_comparison

        path = out or folder / f"{wanted.name}.html"
        variants, chosen = collect(wanted), None
        if wanted.file.search:  # its trials are compared by validation images alone
            chosen = compare_runs([v for v in variants if v.name == wanted.best])
        comparison = compare_runs(variants, wanted.file.pairs, "val" if chosen else None)
        command = f"siglum study run {file}"
        write_comparison(comparison, path, wanted.name, wanted.file, command, chosen)
        print(f"Report: {path}")
        return
    if action == "run":
        if distributed.num_processes() > 1:
            raise ConfigError("A study needs --jobs or --ray to run in parallel, not torchrun.")
        if jobs < 1:
            raise ConfigError(f"jobs must be at least 1, got {jobs}.")
        if ray is not None and jobs > 1:
            raise ConfigError(f"jobs must be 1 with --ray, which decides itself, got {jobs}.")
        if seed and not wanted.levels:
            raise ConfigError("seed chooses runs of trials, and the search has none. Leave it out.")
        jobs = jobs if wanted.trials else min(jobs, len(cells))
        threads = threads or (max(1, CORES // jobs) if ray is None else 1)
        read, target = partial(read_study, file, folder), (device, precision, threads)
        work = partial(next_cells, read, variant, seed), target
        if ray is not None:
            from siglum.lab.cluster import connect, run_on_ray

            with (
                connect(ray),
                redirect_stdout(sys.stderr),  # Ray reports lost nodes there
                terminal.progress_line(training=True) as line,
            ):
                run_on_ray(*work, folder, line.log, line.load)
        elif jobs == 1:
            _train(*work)
        else:  # every worker walks through all runs; their locks share them out
            try:
                with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
                    list(pool.map(partial(_train, *work), [os.getpid()] * jobs))
            except BrokenProcessPool:
                remedy = "Use fewer --jobs, and run the same command again."
                problem = "A process was killed, perhaps for lack of memory."
                raise RunError(f"{problem} {remedy}") from None
        cells = (wanted := read()).select(variant, seed)
    records: list[dict[str, Any]] = []
    histories = [cell.run.history if cell.run else [] for cell in cells]
    speeds = [history[-1].seconds / len(history) if history else None for history in histories]
    slow = STRAGGLER * median([*filter(None, speeds)] or [0])
    for cell, history, seconds in zip(cells, histories, speeds, strict=True):
        epochs = f"{len(history)} of {cell.run.config.epochs}" if cell.run else ""
        record = {"variant": cell.name, "run": str(cell.path), "state": cell.state}
        record["epochs"], is_slow = cell.failure or epochs, (seconds or 0) > slow
        records.append({**record, "seconds_per_epoch": seconds, "straggler": is_slow or None})
        if wanted.file.search:
            records[-1]["validation"] = wanted.scores.get(cell.variant)
    about = {"best": wanted.best, "next": wanted.unfinished} if wanted.file.search else {}
    if json:
        terminal.print_json({"study": wanted.name, **about, "runs": records})
        return
    if records:  # a search by Optuna begins with none
        terminal.print_table(records[0], (map(terminal.format_value, r.values()) for r in records))
    states = Counter(record["state"] for record in records)
    pruned = f"{states['pruned']} pruned, " if states["pruned"] else ""
    print(f"{states['finished']} finished, {states['failed']} failed, {pruned}of {len(records)}")
    if about:
        upcoming = "; ".join(wanted.unfinished)
        terminal.print_facts({"best by validation": wanted.best, "next": upcoming})


def _train(
    upcoming: "Callable[[], list[Cell]]", target: tuple[str, str, int], parent: int | None = None
) -> None:
    """Train the runs of a study in this process, of a search to its end."""
    from siglum.lab.study import run_cells

    with terminal.progress_line(training=True) as line:
        start, device = partial(_start, line, parent), choose_device(*target)
        while cells := upcoming():  # a search goes on from its results
            run_cells(cells, device, start, line.load)


def _start(
    line: terminal.ProgressLine, parent: int | None, cell: "Cell", remaining: int
) -> train_run.Watch:
    line.log(f"{cell.path.name}  {cell.name}  ({remaining} to go)")

    def watch(record: training_loop.StepProgress | training_loop.Epoch) -> bool:
        if cell.pruning is not None and isinstance(record, training_loop.Epoch):
            cell.pruning.report()
        # A worker whose parent was killed saves its state and stops.
        return line.watch(record) or parent not in (None, os.getppid())

    return watch


def label_issues(
    run: Path,
    source: str | None = None,
    /,
    *,
    part: str | None = None,
    against: str | None = None,
    out: terminal.Out = None,
    relabel_to: Path | None = None,
    min_probability: float = 0.0,
    device: terminal.Device = "auto",
    json: terminal.Json = False,
) -> None:
    """Find labels that are probably wrong, by the predictions of a network.

    The network must not have learned from these images. Name a run of other data and the source,
    or the folder of a cross-validation (siglum train SOURCE --folds 5), which knows its source.

    Example: siglum label-issues runs/cv -o issues.csv
    Example: siglum label-issues runs/mnist archive:doubtful.zip --relabel-to labels.csv

    Args:
        run: A run's folder, or the folder of a cross-validation.
        source: Where the images come from; its classes may differ from the run's.
        part: train or test, where the source has both; train by default.
        against: Another source; search for near copies of its images.
        out: Write all labels, suspects first, as a new CSV file to review: siglum studio FILE
        relabel_to: Write the predictions as a new CSV file: siglum train manifest:FILE
        min_probability: With --relabel-to, write only predictions that are at least this probable.
    """
    from siglum.lab import label_issues as lab

    if not 0 <= min_probability <= 1:
        raise ConfigError(f"min_probability must be in [0, 1], got {min_probability}.")
    for path in (out, relabel_to):
        if path is not None and (path.exists() or not path.parent.is_dir()):
            raise DataError(f"{path} must be a new file in a folder that exists.")
    with terminal.progress_line() as line:
        if (run / CONFIG).is_file():
            if source is None:
                raise ConfigError("source must hold images. Give: siglum label-issues RUN SOURCE")
            parts, network = sources.parts(source), Run(run)
            part = choose(dict(zip(parts, parts, strict=True)), part or parts[0], "part")
            images = sources.load(source, part, network.preprocess, progress=line.load)
            table = lab.predict_run(network, images, choose_device(device, "float32"))
            arguments = {part: images}, network.config, line.load
            trained = train_run.count_trained(network, *arguments)[part]
        else:
            own, table, trained = lab.read_out_of_fold(run)
            if unused := source or (part and "--part"):
                raise ConfigError(f"{run} is of {own}. Leave out {unused}.")
            source = own
        kinds = {"folder", "archive"} | ({"studio"} if relabel_to is None else set())
        if (out or relabel_to) and sources.locate(str(source))[0] not in kinds:
            name = "relabel_to" if relabel_to else "out"
            raise ConfigError(f"{name} needs a folder or an archive of images, got {source}.")
        copies = {
            f"{against} ({name})": lab.find_copies(
                str(source), part or "train", str(against), name, line.load
            )
            for name in (sources.parts(against) if against else ())
        }
    if trained != 0:
        number = "an unknown number" if trained is None else f"{trained:,}"
        problem = f"{run} was trained on {number} of these {len(table):,} images, and has"
        remedy = f"Use the folder of: siglum train {source} --folds 5"
        warnings.warn(f"{problem} learned their labels. {remedy}", stacklevel=2)
    related, ordered = lab.contingency(table), table.sort_values("issue", kind="stable")
    issues = ordered.dropna(subset="issue").drop(columns=["margin", "issue"])
    columns = {"old": table.label, "new": table.label}
    columns |= {"suggestion": table.prediction.where(table.issue.notna())}
    review = ordered.assign(**columns)[["file", *columns, "probability"]]
    probable = table[table.probability >= min_probability].drop(columns="issue")
    relabelled = probable.rename(columns={"label": "old", "prediction": "new"})
    for path, lines in ((out, review), (relabel_to, relabelled)):
        if path is not None:
            text = lines.to_csv(index=False, float_format="%.6f")
            write_atomic(path, f"# source: {source}\n# {NOTE}\n{text}")
    if json:
        counts = related.counts
        record = related._asdict() | {"agreement": asdict(related.agreement)}
        record |= {"counts": counts.to_numpy().tolist(), "issues": issues.to_dict("records")}
        record |= {"labels": [*counts.index], "predictions": [*counts.columns], "copies": copies}
        terminal.print_json(record)
        return
    terminal.print_line(related.headline)
    if max(related.counts.shape) <= MAX_MATRIX:
        print("\nRows: labels; columns: predictions.")
        terminal.print_table(("", *related.counts.columns), related.counts.itertuples())
    print(f"\nProbably wrong: {formatting.count(len(issues), 'label')} (confident learning).")
    listed = issues[:MAX_ISSUES].assign(probability=issues.probability.map(formatting.probability))
    terminal.print_table(("image", *listed.columns[1:]), listed.itertuples(index=False))
    terminal.print_facts({f"near copies of {name}": near for name, near in copies.items()})
    if out is not None:
        terminal.print_line(f"Written to {out}. Review them with: siglum studio {out}")
    if relabel_to is not None:
        number = formatting.count(len(relabelled), "prediction")
        terminal.print_line(f"{number} written to {relabel_to}")


def runs(folder: Path = Path("runs"), /, *, json: terminal.Json = False) -> None:
    """List the runs in a folder, newest first.

    Example: siglum runs my-runs --json
    """
    records: list[dict[str, Any]] = []
    rows = []
    for run in find_runs(folder):
        try:
            config, result, epochs = run.config, run.result or {}, run.history
        except SiglumError as error:
            warnings.warn(f"{run.path} is left out: {error}", stacklevel=2)
            continue
        record = {
            "run": run.path.name,
            "data": config.data,
            "model": config.model,
            "parameters": result.get("parameters"),
            "epochs": len(epochs),
            "seconds": epochs[-1].seconds if epochs else 0.0,
            "finished": bool(result),
        }
        parts = {part: result.get(part) for part in ("val", "test")}
        records.append(record | parts)
        rates = [m and formatting.rate(stats.wilson(m["hits"], m["total"])) for m in parts.values()]
        rows.append([terminal.format_value(value) for value in (*record.values(), *rates)])
    if json:
        terminal.print_json(records)
    elif not rows:
        print(f"No runs in {folder}. Train one with: siglum train")
    else:
        terminal.print_table(records[0], rows)
