"""`siglum examine`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from siglum.cli import terminal
from siglum.cli.terminal import Switch
from siglum.errors import ConfigError, choose
from siglum.lab.device import choose_device
from siglum.lab.examine.subject import PARTS, DoesNotApplyError, Subject, subject
from siglum.lab.runs import Run
from siglum.report import examine as report
from siglum.report.examine import PIECES

Names = Annotated[tuple[str, ...], Parameter(negative=())]


def examine(
    run: Path,
    /,
    *files: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    only: Names = (),
    layer: str | None = None,
    part: Literal["test", "val", "train"] | None = None,
    count: int | None = None,
    picture: Annotated[tuple[int, ...], Parameter(negative=())] = (),
    wrong: Switch = False,
    checkpoint: str | None = None,
    device: str = "auto",
    json: Switch = False,
) -> None:
    """Look inside a network: its layers, filters, maps, answers, and what its answers hang on.

    Without --only, one page with all of it. With it, a piece by itself: layers, diagram, first,
    filters, effect, maps, saliency, integrated_gradients, occlusion, attention, answers,
    predictions, nearest or embedding.

    Example: siglum examine runs/a three.png --only attention -o three-attention.png

    Args:
        run: The run's folder.
        files: Picture files; by default the run's test pictures, or its validation pictures.
        out: An .html page, a piece as .png, .svg or .npz (its arrays), or a folder for all of them.
        only: The pieces to show; may be given several times.
        layer: The layer whose filters and maps are shown; all or the first by default.
        part: test, val or train: which of the run's pictures.
        count: How many pictures; each piece has its own number by default.
        picture: The number of a picture of the part, from 1; may be given several times.
        wrong: Only pictures of the part that are misread.
        checkpoint: best, last or lowest_loss; by default what the run stands for.
        device: auto, cpu, cuda or mps.
        json: Print the tables of layers, answers and nearest pictures as JSON.
    """
    for name in only:
        choose(PIECES, name, "only")
    names = list(dict.fromkeys(only)) or [*PIECES]
    whole = out is None and not only and not json
    if whole:
        out = run / "examine.html"
    page = out is not None and out.suffix == ".html"
    folder = out is not None and (out.is_dir() or not out.suffix)
    if out is not None and not page and not folder:
        report.check_ending(out)
        if len(names) != 1:
            raise ConfigError(
                f"-o must be an .html page or a folder for {len(names)} pieces, got {str(out)!r}. "
                "Name one with --only."
            )
    if out is not None and not folder:
        report.check_place(out)
    machine = choose_device(device, "float32")
    opened = Run(run)
    looked = subject(
        opened,
        machine,
        files,
        part=part,
        layer=layer,
        count=count,
        weights=checkpoint,
        numbers=picture,
        wrong=wrong,
    )
    if not files and part is None and (page or folder):
        _say_part(looked)
    if page:
        assert out is not None
        print(f"Page: {report.write_page(looked, names, out)}")
    elif folder:
        assert out is not None
        for sentence in report.write_folder(looked, names, out):
            print(terminal.printable(sentence))
        print(f"Folder: {out}")
    elif json:
        terminal.write_json(_tables(looked, names))
    else:
        for name in names:
            _one(looked, name, out)


def _one(looked: Subject, name: str, out: Path | None) -> None:
    """Print what can be printed of a piece, and write it where asked for, or else drawn."""
    piece = PIECES[name]
    made = piece.make(looked)
    print(terminal.printable(f"{piece.finding(made)}."))
    if piece.table is not None:
        terminal.show(terminal.table(*piece.table(made)))
    if piece.table is None or out is not None:
        print(f"Sheet: {report.write_piece(piece, made, out or Path(f'{name}.png'))}")


def _tables(looked: Subject, names: list[str]) -> dict[str, object]:
    """Return the rows of the pieces that have a table, by their names and columns.

    Raises:
        ConfigError: if none has.
    """
    tabled = {name: PIECES[name].table for name in names if PIECES[name].table is not None}
    if not tabled:
        listed = ", ".join(name for name, piece in PIECES.items() if piece.table is not None)
        raise ConfigError(
            f"--json must go with a piece that has a table ({listed}), got {', '.join(names)}. "
            "-o FILE.npz keeps the arrays of any."
        )
    found: dict[str, object] = {}
    for name in tabled:
        made = PIECES[name].make(looked)
        arrays = report.arrays(made)
        kept = {key: value for key, value in arrays.items() if value.ndim < 3}
        found[name] = {key: value.tolist() for key, value in kept.items()}
    return found


def _say_part(looked: Subject) -> None:
    try:
        if looked.shown_part != "test":
            print(f"pictures    {PARTS[looked.shown_part]}: the run has no test pictures")
    except DoesNotApplyError as error:
        print(f"pictures    none: {error}")
