"""Commands that need no PyTorch, unless they are given a run.

What `predict` does not need is imported late, since it is often called for one image.
"""

import hashlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from siglum.cli import terminal
from siglum.config import InputSettings, Preprocess
from siglum.errors import ConfigError, DataError, MissingExtra, SiglumError, require_extra
from siglum.files import reading, write_atomic
from siglum.formatting import count, percent, percent_digits, probability, rate_and_interval
from siglum.images import contact_sheet, decode, ink
from siglum.images.cache import first_names
from siglum.images.characters import read_outputs
from siglum.images.folder import expand_files
from siglum.images.imageset import ImageSet
from siglum.recogniser import bundle as bundles
from siglum.recogniser.calibration import describe
from siglum.recogniser.predict import Input, Recogniser, load

INK_SIZE = 64  # px, side of the ink that `data --show-ink` extracts


def teach(
    *,
    chars: str | None = None,
    samples: str | None = None,
    out: terminal.NewFile,
    rename: terminal.Renames = None,
    writers: str | None = None,
    backbone: Path | None = None,
    outputs: Path | None = None,
    title: str = "",
    json: terminal.Json = False,
) -> None:
    """Teach a recogniser from names of characters, from drawings, or from both.

    Characters are known from fonts, without a drawing. Drawings improve them, and teach signs that
    no font has.

    Example: siglum teach --chars 'αβγ' -o greek.siglum
    Example: siglum teach --chars 'αβγδ' --samples drawings.zip -o greek.siglum

    Args:
        chars: Characters, Unicode names or groups, separated by commas. The outputs of the
            characters of latex are their commands.
        samples: Labelled images, such as a folder with one folder per class.
        out: The bundle to write; its name ends in .siglum.
        writers: Regular expression whose first group is the writer in a file name.
        backbone: A backbone of your own; by default the one that Siglum includes.
        outputs: CSV file with columns label,output: texts to use instead of names of classes.
        title: Description of the recogniser, stored in the bundle.
    """
    from siglum import api
    from siglum.recogniser.fit import diagnose, to_bundle

    out = out.expanduser()
    bundles.check_new(out)
    with terminal.progress_line() as line:
        fitted = api.teach(
            chars,
            samples,
            rename=terminal.read_renames(rename),
            writers=writers,
            backbone=backbone,
            outputs=read_outputs(outputs) if outputs else {},
            progress=line.load,
        ).fitted
    assert fitted is not None
    command = decode.as_text(shlex.join(["siglum", *sys.argv[1:]]))
    bundle = to_bundle(fitted, decode.as_text(title), command)
    record = diagnose(fitted) | {"samples": len(fitted.samples.labels)}
    bundles.save(bundle, out)
    if json:
        about = {"file": str(out), "title": bundle.card.title, "classes": bundle.classes}
        terminal.print_json(about | record | {"calibration": bundle.calibration.model_dump()})
        return
    terminal.print_line(f"{out} recognises {bundle.card.title}.")
    for sentence in (*_accuracy_lines(record), *describe(bundle.calibration)):
        terminal.print_line(sentence)


def _accuracy_lines(record: dict[str, Any]) -> Iterator[str]:
    if not record["samples"]:
        yield "No drawings yet: accuracy on your handwriting is unknown. Add some with --samples."
        return
    accuracy = "Accuracy is unknown with one drawing per sign. Draw a second of each."
    if record["accuracy"]:
        accuracy = f"Leave-one-out accuracy: {terminal.format_value(record['accuracy'])}."
    yield accuracy
    for point in reversed(record["learning_curve"]):
        size = count(point["samples_per_class"], "drawing")
        start = f"Accuracy with {size} per sign" if point["samples_per_class"] else "From fonts"
        yield f"{start}: {percent(point['accuracy'], percent_digits(record['samples']))}."
    for one in record["confusions"][:5]:
        yield "  {label!r} is predicted as {predicted!r} in {count} of {total}.".format(**one)
    for one in record["suggestions"][:3]:
        yield f"Next, {one['label']!r}: {one['message'].rstrip('.')}."
    if untested := record["untested"]:
        yield f"Without drawings, not tested: {first_names(untested)}."


def predict(
    recogniser: Path,
    /,
    *files: str,
    page: Path | None = None,
    out: terminal.PngOrParquet = None,
    checkpoint: terminal.Checkpoint = None,
    device: terminal.Device = "auto",
    json: terminal.Json = False,
    csv: bool = False,
    output: Literal["text", "latex", "typst", "html", "python"] | None = None,
    column: str | None = None,
    jobs: int = 0,
    ray: str | None = None,
) -> None:
    """Predict the class of images: label, probability, runner-up and problems.

    An image shows one character; for a page of several use --page. With -o NAME.parquet, millions
    of images are predicted in constant memory, also those in a column of Parquet files; the same
    command continues a job that was stopped.

    Example: siglum predict digits.siglum photo.png
    Example: siglum predict runs/first scans/
    Example: siglum predict greek.siglum --page page.jpg -o boxes.png
    Example: siglum predict greek.siglum --page page.jpg --output latex
    Example: siglum predict greek.siglum 'shards/*.parquet' -o answers.parquet

    Args:
        recogniser: A bundle, which needs no PyTorch, or the folder of a run.
        files: Image files, folders of them, or patterns such as 'scans/*.png'.
            For -o NAME.parquet also Parquet files and URIs, such as 's3://bucket/*.parquet'.
        page: An image of a page with several characters, read row by row.
        out: With --page: where to draw the boxes and labels, a PNG file.
            Else NAME.parquet, a folder of Parquet files for the predictions of many images.
        csv: Print CSV.
        output: Print outputs instead of classes: their own texts, or the codes of characters.
            With --page nothing else is printed.
        column: Column of the images in Parquet files; by default the first one of bytes.
        jobs: With -o NAME.parquet: processes, of one thread each; 0 for one per core.
        ray: With -o NAME.parquet: a Ray cluster, as host:port, auto or local (a new one).
    """
    if not files and page is None:
        raise DataError("No image given. Name an image file, a folder of images, or use --page.")
    if out is not None and out.suffix == ".parquet":
        if page or checkpoint or json or csv or output or device != "auto":
            raise ConfigError("-o NAME.parquet allows only --column, --jobs and --ray.")
        _predict_in_bulk(recogniser, files, out, column, jobs, ray)
        return
    if column or jobs or ray:
        raise ConfigError("column, jobs and ray need -o NAME.parquet.")
    if page is not None:
        if files or csv:
            raise ConfigError("page must be used alone, without other files and without --csv.")
        _predict_page(_open(recogniser, checkpoint, device), page, out, json, output)
        return
    if out is not None:
        raise ConfigError("out must end in .parquet, or be used with --page.")
    paths = expand_files(files)
    unreadable: list[tuple[str, str]] = []
    predictions = _open(recogniser, checkpoint, device).predict_images(paths, unreadable)
    predictions = [replace(one, output=one.output_as(output or "text")) for one in predictions]
    records = [prediction.to_dict() for prediction in predictions]
    if json:
        terminal.print_json(records)
    elif csv:
        print(terminal.to_csv(records), end="")
    elif predictions:
        rows = []
        for one in predictions:
            first, *others = [f"{label} {probability(share)}" for label, share in one.ranking[:2]]
            text = one.output.replace("\n", "⏎") if output else one.label
            cells = text, probability(one.probability), "".join(others)
            cells = ("none of these", "", first) if one.rejected else cells
            rows.append((one.file, *cells, "dark on light" if one.inverted else ""))
        terminal.print_table(("file", "prediction", "probability", "runner-up", "note"), rows)
        for one in predictions:
            for warning in one.warnings:
                terminal.print_line(f"{one.file}: {warning}")
    terminal.raise_for_unreadable(unreadable, len(paths))


def _predict_in_bulk(
    path: Path, files: Sequence[str], out: Path, column: str | None, jobs: int, ray: str | None
) -> None:
    from siglum.recogniser import bulk

    path, out = path.expanduser(), out.expanduser()
    if path.is_dir():
        raise ConfigError(f"-o NAME.parquet needs a bundle: siglum export {path} -o NAME.siglum")
    if jobs < 0:
        raise ConfigError(f"jobs must be at least 0, got {jobs}. 0 is one per core.")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of the processes, which share the cores
    if ray is None:
        run = partial(bulk.run_locally, jobs=jobs or os.cpu_count() or 1)
    else:
        from siglum.lab.cluster import predict_on_ray  # late: it imports torch

        run = partial(predict_on_ray, address=ray, jobs=jobs)
    with terminal.progress_line() as line:
        rows, unreadable = bulk.predict(path, files, out, column, run, line.load)
    notes = f", {unreadable:,} of them not read: column error" if unreadable else ""
    terminal.print_line(f"{out}: {count(rows, 'row')}{notes}")


def _predict_page(
    recogniser: Recogniser, path: Path, out: Path | None, json: bool, output: str | None
) -> None:
    preprocess = recogniser.preprocess
    if not preprocess.cuts_out or preprocess.position_channels:
        problem = "page needs a recogniser that extracts ink, without position channels."
        remedy = "Teach one, or train with --resize glyph."
        raise ConfigError(f"{problem} {remedy}")
    with reading(path, DataError):
        image = decode.read(path, max_side=2 * ink.PAGE_WORKING)
    page = ink.read_page(image, preprocess)
    if not page.rows:
        raise DataError(f"No ink found in {path}. Use a darker pen, or even light.")
    records, lines, boxes = [], [], []
    for row, characters in enumerate(page.rows):
        inputs = [Input(one.ink[None], page.inverted, None, str(path)) for one in characters]
        lines.append("")
        for column, one in enumerate(recogniser.predict_inputs(inputs)):
            one = replace(one, output=one.output_as(output or "text"))
            box, label = characters[column].box, "?" if one.rejected else one.label
            boxes.append((box, label))
            wide = f"{label} {probability(one.probability)}   "
            lines[-1] += f"{one.output or '?'} " if output else wide
            records.append({"row": row, "column": column, "box": box, **one.to_dict()})
    if out is not None:
        terminal.save_png(contact_sheet.boxed(image, boxes), out)
    if json:
        terminal.print_json({"file": str(path), "sideways": page.sideways, "characters": records})
        return
    for line in lines:
        terminal.print_line(line.rstrip(), lines=True)
    if page.sideways:
        hint = "Most characters are wider than high: the page may lie on its side."
        print(hint, file=sys.stderr if output else sys.stdout)


def _open(path: Path, checkpoint: str | None, device: str) -> Recogniser:
    path = path.expanduser()
    if path.suffix == bundles.SUFFIX or path.is_file():
        if checkpoint is not None or device not in ("auto", "cpu"):
            raise ConfigError("checkpoint and device are for runs. Leave them out with a bundle.")
        return load(path)
    from siglum.lab.device import choose_device  # late: a bundle needs no torch
    from siglum.lab.export import open_run
    from siglum.lab.run_folder import Run

    return open_run(Run(path), choose_device(device, "float32"), checkpoint)


def find(
    image: Path | None = None,
    /,
    *,
    name: str | None = None,
    within: str | None = None,
    top: int = 10,
    json: terminal.Json = False,
) -> None:
    """Find a character by its shape in an image, or by its name, with the codes to type it.

    Each row is a shape, which several characters may share. Characters in common use come first
    among similar shapes.

    Example: siglum find photo.png
    Example: siglum find photo.png --within greek,arrows --top 5
    Example: siglum find --name 'left arrow'

    Args:
        image: An image of one character.
        name: Words of the Unicode, LaTeX or Typst name.
        within: Groups of characters to search, separated by commas.
        top: Number of rows, 1 to 100.
    """
    from siglum.recogniser.find import find, search

    if image is not None and name is None:
        matches = find(image, top, within)
    elif image is None and name is not None:
        matches = search(name, top, within)
        if not matches:
            raise DataError(f"No character has the name {name!r}. Use fewer words, such as arrow.")
    else:
        raise ConfigError("find needs an image or --name, and not both.")
    if json:
        terminal.print_json([match.to_dict() for match in matches])
        return
    keys = ("text", "name", "code_point", "latex", "typst", "html")
    columns = ("", "name", "code point", "LaTeX", "Typst", "HTML", "same shape")
    rows = [(*map(match.to_dict().get, keys), " ".join(match.lookalikes)) for match in matches]
    terminal.print_table(columns, rows)


def export(
    source: Path,
    /,
    *,
    out: terminal.NewFile,
    checkpoint: terminal.Checkpoint = None,
    licence: str = "",
    settings: Annotated[InputSettings | None, Parameter(name="*")] = None,
) -> None:
    """Export a run as a bundle, a bundle as a page or ONNX, or a set of signs as plain files.

    A run's bundle is compared with PyTorch on eight images of random noise and calibrated on the
    validation images. A bundle's page recognises drawings by itself, without a server or a network;
    as a folder for a web host it can be installed. Its ONNX file computes calibrated probabilities
    from bytes, with labels.json and examples in Python and JavaScript. A set's drawings become PNG
    and JSON files, with labels.csv, or strokes in QuickDraw's format. The images of any source
    become NumPy arrays, or shards: Parquet files to train on sets that are larger than memory.

    Example: siglum export runs/first -o digits.siglum
    Example: siglum export greek.siglum -o greek.html
    Example: siglum export greek.siglum -o greek.onnx
    Example: siglum export my-signs -o my-signs.zip
    Example: siglum export my-signs -o my-signs.ndjson
    Example: siglum export mnist5k -o digits.npz
    Example: siglum export folder:my-signs --size 32 -o my-signs.parquet

    Args:
        source: A bundle, or the folder of a run or of a set of signs; for images any source.
        out: From a bundle NAME.html, NAME.onnx or a new folder; from a run NAME.siglum; from a set
            of signs a new folder, NAME.zip or NAME.ndjson; NAME.npz or NAME.parquet for images.
        licence: Licence of a run's bundle, such as CC-BY-4.0.
    """
    from siglum.images import sources, studio_set

    source, out = source.expanduser(), out.expanduser()
    if settings and out.suffix not in (".npz", ".parquet"):
        names = ", ".join(settings.model_fields_set)
        raise ConfigError(f"{names} needs images: -o NAME.parquet or -o NAME.npz.")
    if source.suffix == bundles.SUFFIX or out.suffix in (".html", ".onnx"):
        _export_bundle(source, out, checkpoint, licence)
    elif out.suffix in (".npz", ".parquet"):
        preprocess = Preprocess(**settings.model_dump() if settings else {})
        with terminal.progress_line() as line:
            number = sources.export(str(source), out, preprocess, line.load)
        terminal.print_line(f"{out}: {count(number, 'image')}")
    elif studio_set.is_set(source):
        from siglum.studio.exchange import write_set

        if out.suffix not in ("", ".zip", ".ndjson"):
            raise ConfigError("out must be a folder, .zip or .ndjson. For .siglum: siglum teach")
        terminal.print_line(f"{out}: {count(write_set(source, out), 'drawing')}")
    elif source.is_file():
        raise ConfigError(f"{source} is no bundle. Its images become arrays with -o NAME.npz")
    else:
        from siglum.lab.device import choose_device
        from siglum.lab.export import export as export_run
        from siglum.lab.run_folder import Run

        export_run(Run(source), out, choose_device("cpu", "float32"), checkpoint, licence)
        info(out)


def _export_bundle(path: Path, out: Path, checkpoint: str | None, licence: str) -> None:
    if path.is_dir():
        raise ConfigError(f"{out.suffix} needs a bundle. Save one first, as NAME.siglum.")
    if checkpoint is not None or licence:
        raise ConfigError("checkpoint and licence are for runs. Leave them out with a bundle.")
    if out.suffix == ".onnx":
        from siglum.recogniser.onnx_export import write
    elif out.suffix in (".html", ""):
        from siglum.studio.offline_page import write
    else:
        raise ConfigError(f"out must end in .html or .onnx, or be a new folder, got {str(out)!r}.")
    bundle = load(path).bundle
    size = write(bundle, out) / 1e6
    terminal.print_line(f"{out}: {count(len(bundle.classes), 'class', 'classes')}, {size:.1f} MB")


def info(bundle: Path, /, *, json: terminal.Json = False) -> None:
    """Describe a bundle, after checking all of it and verifying its reference outputs.

    Example: siglum info digits.siglum

    Args:
        bundle: A file whose name ends in .siglum.
    """
    path = bundle.expanduser()
    opened, raw = load(path).bundle, path.read_bytes()
    card, calibration = opened.card.model_dump(), opened.calibration.model_dump()
    record = {
        "bundle": str(path),
        "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "classes": opened.classes,
        "outputs": opened.outputs,
        "preprocess": opened.preprocess.model_dump(exclude_none=True),
        "reference_outputs": len(opened.reference.images),
        "samples": len(opened.samples.labels) if opened.samples else 0,
    }
    if json:
        terminal.print_json({**record, "card": card, "calibration": calibration})
        return
    sentences = " ".join(describe(opened.calibration)) or None
    measured = card.pop("measured")
    terminal.print_facts({**record, **card, **measured, "settings": None, "calibration": sentences})


def push(bundle: Path, repository: str, /, *, public: bool = False) -> None:
    """Upload a bundle, with a model card, to a repository of the Hugging Face Hub.

    A new repository is private, unless --public is given. A bundle contains its drawings.

    Example: siglum push greek.siglum hf:anna/greek

    Args:
        bundle: A file whose name ends in .siglum.
        repository: hf:USER/NAME. Log in with 'hf auth login', or set HF_TOKEN.
        public: Allow everybody to download the bundle.
    """
    with redirect_stdout(io.StringIO()) as facts:
        info(bundle)
    with _hub(repository) as (hub, name, file):
        from huggingface_hub import CommitOperationAdd
        from jinja2 import Template

        card, template = load(bundle).bundle.card, Path(__file__).with_name("model_card.md")
        texts = {"name": name, "file": file, "facts": facts.getvalue(), "card": card}
        text = Template(template.read_text("utf-8")).render(texts, rate=rate_and_interval)
        files = [CommitOperationAdd("README.md", text.encode())]
        files += [CommitOperationAdd(file, bundle.expanduser())]
        hub.create_repo(name, private=not public, exist_ok=True)
        private = hub.model_info(name).private
        if not private and not public:
            raise ConfigError(f"{repository} is public. Add --public to publish the bundle.")
        hub.create_commit(name, files, commit_message=f"Upload {file}")
    terminal.print_line(f"{hub.endpoint}/{name} is {'private' if private else 'public'}.")


def pull(repository: str, /, *, out: terminal.Out = None) -> None:
    """Download a bundle from a repository of the Hugging Face Hub, and check it.

    Example: siglum pull hf:anna/greek

    Args:
        repository: hf:USER/NAME, which has NAME.siglum. A private one needs a login, as for push.
        out: The bundle to write; by default NAME.siglum.
    """
    with _hub(repository) as (hub, name, file), tempfile.TemporaryDirectory() as folder:
        out = (out or Path(file)).expanduser()
        bundles.check_new(out)
        hub.model_info(name)  # fails at once without a network; a download retries for 24 s
        path = Path(hub.hf_hub_download(name, file, local_dir=folder))
        load(path)
        write_atomic(out, path.read_bytes())
    terminal.print_line(f"{out} is checked. Use it: siglum predict {out} photo.png")


@contextmanager
def _hub(repository: str) -> Iterator[tuple[Any, str, str]]:
    """Yield a client of the hub, USER/NAME and NAME.siglum; turn errors into DataError."""
    match = re.fullmatch(r"hf:([\w.-]+/([\w.-]+))", repository, re.ASCII)
    if not match:
        raise ConfigError(f"repository must be hf:USER/NAME, got {repository!r}.")
    # Read when the client is imported, which would report the versions of other packages.
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    os.environ["HF_HUB_VERBOSITY"] = "error"
    try:
        with require_extra("The Hugging Face Hub", "hub"):
            from huggingface_hub import HfApi

        yield HfApi(), match[1], match[2] + bundles.SUFFIX
    except SiglumError:
        raise
    except Exception as error:  # of the client and its packages; that of a header has the token
        reason = re.sub("Bearer .*|\n.*", "", str(error.__cause__ or error)).rstrip(".")
        remedy = "Check the name, your login ('hf auth login' or HF_TOKEN) and the network."
        raise DataError(f"Cannot use {repository}: {reason}. {remedy}") from error


def data(
    *places: str,
    show_ink: bool = False,
    out: terminal.Png = None,
    rename: terminal.Renames = None,
    writers: str | None = None,
    json: terminal.Json = False,
) -> None:
    """Describe a source of images, or show the ink that is extracted from image files.

    Example: siglum data my-signs -o samples.png
    Example: siglum data --show-ink photo.jpg scans -o ink.png

    Args:
        places: A source: a folder with a folder per class, a zip, a CSV file, mnist5k, ...
            With --show-ink: image files, patterns such as '*.png', or folders of images.
        show_ink: Extract the ink of images, as recognisers do, and report problems.
        out: PNG file to write: samples of each class, or images before and after.
        writers: Regular expression whose first group is the writer in a file name.
    """
    from siglum.images import sources

    if not places or (len(places) > 1 and not show_ink):
        raise ConfigError(f"data describes one source, got {len(places)}.")
    if show_ink:
        _show_ink(expand_files(places), out, json)
        return
    source, names = places[0], terminal.read_renames(rename)
    with terminal.progress_line() as line:
        parts = {
            part: sources.load(source, part, rename=names, writers=writers, progress=line.load)
            for part in sources.parts(source, line.load)
        }
    if out is not None:
        terminal.save_png(contact_sheet.contact_sheet(next(iter(parts.values()))), out)
    records = {part: _describe(images) for part, images in parts.items()}
    if json:
        terminal.print_json(records)
        return
    for part, record in records.items():
        terminal.print_facts({"part": part, **record, "unreadable": None, "counts": None})
        for name, reason in record["unreadable"]:
            terminal.print_line(f"not read: {name}: {reason}")
        rows = zip(record["classes"], record["counts"], strict=True)
        terminal.print_table(("class", "images"), rows)
        print()


def _describe(images: ImageSet) -> dict[str, Any]:
    if (originals := images.originals) is not None:
        digests, light = originals["digest"][images.rows].tolist(), originals["light"][images.rows]
        sides = originals["size"][images.rows].tolist()
    else:
        digests = [hash(image.tobytes()) for chunk in images.chunks() for image in chunk]
        light = np.concatenate([decode.has_light_background(chunk) for chunk in images.chunks()])
        sides = [images.shape[1:]] * len(images)
    sizes = Counter(f"{width} x {height} px" for height, width in sides)
    labelled = {*zip(digests, images.labels.tolist(), strict=True)}
    return {
        "source": images.source,
        "images": len(images),
        "classes": images.classes,
        "counts": images.counts.tolist(),
        "writers": None if images.writers is None else len({*images.writers}),
        "sizes": dict(sizes.most_common()),
        "dark_on_light": int(light.sum()),
        "light_on_dark": int((~light).sum()),
        "exact_duplicates": len(digests) - len({*digests}),
        "of_them_in_another_class": len(labelled) - len({*digests}),
        "unreadable": images.unreadable,
        "fingerprint": images.fingerprint,
    }


def _show_ink(files: list[Path], out: Path | None, json: bool) -> None:
    rows, unreadable = [], []
    for file in files:
        try:
            image = decode.read(file, max_side=2 * ink.WORKING)
            rows.append((decode.as_text(str(file)), image, *ink.normalise(image, INK_SIZE)))
        except DataError as error:
            unreadable.append((str(file), str(error)))
    if out is not None and rows:
        terminal.save_png(contact_sheet.comparison(rows), out)
    if json:
        terminal.print_json(
            [{"file": name, **asdict(r), "warnings": r.warnings()} for name, _, _, r in rows]
        )
    else:
        for name, _, _, report in rows:
            kind = "no ink" if report.empty else "dark ink" if report.inverted else "light ink"
            terminal.print_line(f"{name}: {'; '.join([kind, *report.warnings()])}")
    terminal.raise_for_unreadable(unreadable, len(files))


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that completes commands, options and file names in a shell.

    Commands of the laboratory are part of it where the laboratory is installed.

    Example: siglum completion bash > ~/.local/share/bash-completion/completions/siglum
    Example: siglum completion zsh > "${fpath[1]}/_siglum"
    Example: siglum completion fish > ~/.config/fish/completions/siglum.fish

    Args:
        shell: The shell that reads the script.
    """
    from cyclopts import App

    from siglum import cli

    app = App("siglum", version_flags=[])
    for name in cli.COMMANDS:
        with suppress(MissingExtra):
            app.command(cli.command_app(name), name=name)
    # zsh runs the function that has the name of its file, which is _siglum by the examples
    print(app.generate_completion(shell=shell).replace("_cyclopts_siglum", "_siglum"))
    if shell == "bash":  # file names where an argument has no type of its own
        print("complete -o default -F _siglum siglum")
