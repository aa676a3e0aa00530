"""`siglum examine`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from siglum.cli.options import Device, Flag, Json, Out
from siglum.cli.output import print_json, print_line, print_table
from siglum.errors import ConfigError, choose
from siglum.examine import Examination
from siglum.examine.panels import PANELS, run_panels, write_page
from siglum.files import write_atomic
from siglum.lab.device import choose_device
from siglum.lab.runs import Run
from siglum.report.page import cell_text

Many = Parameter(negative=())


def examine(
    run: Path,
    /,
    *files: Path,
    out: Out = None,
    save_dir: Annotated[Path | None, Parameter(name="--save")] = None,
    only: Annotated[tuple[str, ...], Many] = (),
    layer: str | None = None,
    part: Literal["test", "val", "train"] | None = None,
    count: int | None = None,
    image: Annotated[tuple[int, ...], Many] = (),
    wrong: Flag = False,
    checkpoint: str | None = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Look inside a network: layers, filters, feature maps, attributions, predictions.

    Without --only, one page with all panels. With it, those panels: layers, diagram, printout,
    first, filters, responses, maps, saliency, integrated_gradients, occlusion, attention, answers,
    predictions, nearest or embedding.

    Example: siglum examine runs/first three.png --only saliency -o three.png

    Args:
        run: The run's folder.
        files: Image files; by default the run's test images, or its validation images.
        out: An .html page, or one panel as .png, .svg, .npz (arrays), .csv or .txt.
        save_dir: Write every panel to this folder, as PNG and SVG, CSV and NPZ.
        only: Panel to show; repeat for several.
        layer: Layer whose filters and maps are shown; the first convolution and all by default.
        part: Which of the run's images: test, val or train.
        count: Number of images; each panel has its own default.
        image: Number of an image of the part, from 1; repeat for several.
        wrong: Only misclassified images.
        checkpoint: best, last or lowest_loss; by default the one that the run stands for.
        json: Print arrays of up to two dimensions as JSON.
    """
    names = list(dict.fromkeys(only)) or [*PANELS]
    for name in names:
        choose(PANELS, name, "only")
    as_page = out.suffix == ".html" if out else not (save_dir or only or json)
    if out and not as_page and len(names) > 1:
        raise ConfigError(
            f"out must end in .html for {len(names)} panels, got {out}. Name one "
            "with --only, or write all to a folder with --save DIR."
        )
    examination = Examination(
        *(Run(run), choose_device(device, "float32"), files, part, layer, count),
        *(checkpoint, image, wrong),
    )
    results = run_panels(examination, names)
    if as_page:
        path = out or run / "examine.html"
        write_page(examination, results, path)
        print_line(f"Page: {path}")
    arrays = {}
    for name, result in results.items():
        if result.missing:
            if only and not as_page and not save_dir:
                raise ConfigError(result.finding)
            if save_dir:
                print_line(f"{name}: {result.finding}")
        elif save_dir:
            for suffix, data in result.files().items():
                write_atomic(save_dir / f"{name}{suffix}", data)
        elif json:
            small = {key: value for key, value in result.arrays.items() if value.ndim <= 2}
            arrays[name] = {key: value.tolist() for key, value in small.items()}
        elif not as_page:
            print_line(f"{result.finding}.")
            if result.table:
                rows = [[cell_text(value) for value in row] for row in result.table.rows]
                print_table(result.table.columns, rows)
            if result.text:
                print(result.text)
            if result.figure or out:
                path = out or Path(f"{name}.png")
                write_atomic(path, choose(result.files(), path.suffix, "suffix of out"))
                print_line(f"File: {path}")
    if save_dir:
        print_line(f"Folder: {save_dir}")
    elif json:
        print_json(arrays)
