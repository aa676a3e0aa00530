"""`siglum export`."""

from pathlib import Path

from siglum.cli import options, output
from siglum.formatting import count
from siglum.images import studio_set


def export(
    source: Path,
    /,
    *,
    out: options.NewFile,
    checkpoint: str | None = None,
    licence: str = "",
    threads: options.Threads = 0,
) -> None:
    """Export a run as a bundle, which needs no PyTorch; or a set of signs as plain files.

    A run's bundle is compared with PyTorch on eight held-out images and calibrated on the
    validation images. A set's drawings become PNG and JSON files, with labels.csv.

    Example: siglum export runs/first -o digits.siglum
    Example: siglum export my-signs -o folder/
    Example: siglum export my-signs -o my-signs.zip

    Args:
        source: Folder of a run, or of a set of signs.
        out: Bundle to write, NAME.siglum; for a set of signs a new folder, or NAME.zip.
        checkpoint: best, last or lowest_loss; default: the run's own choice.
        licence: Licence of the bundle, such as CC-BY-4.0.
    """
    if studio_set.is_set(source):
        from siglum.studio.exchange import write_set

        drawings = write_set(source, out)
        output.print_line(f"{out}: {count(drawings, 'drawing')}")
        return
    from siglum.cli.info import info
    from siglum.lab.device import choose_device
    from siglum.lab.export import export as write
    from siglum.lab.runs import Run

    write(Run(source), out, choose_device("cpu", "float32", threads), checkpoint, licence)
    info(out)
