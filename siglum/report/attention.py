"""Where the cells of a picture look, drawn over it: a row a layer, a column a head."""

import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from siglum.errors import ConfigError
from siglum.report import files

PAPER, INK, QUIET = "#fbfaf7", "#1c1b19", "#6b675f"
HEAT = "Oranges"
ENDINGS = {".png": FigureCanvasAgg, ".svg": FigureCanvasSVG}
MOST = 4.0  # the end of the scale: four times an even share


def draw_attention(
    ink: NDArray[np.floating], shares: NDArray[np.floating], title: str, path: Path
) -> Path:
    """Write the sheet of one picture to `path`, a .png or .svg file, and return it.

    Args:
        ink: (S, S), 0 for paper and 1 for ink.
        shares: (L, A, H, W), what each cell gives to the others; 1 is an even share.
        title: what the picture is and was read as.

    Raises:
        ConfigError: if the ending is another.
        RunError: if `path` cannot be written.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f"--out must end in {', '.join(ENDINGS)}, got {str(path)!r}.")
    layers, heads = shares.shape[:2]
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 9, "text.color": INK}):
        figure = Figure(figsize=(1.1 * (heads + 2), 1.15 * layers + 1), dpi=150, facecolor=PAPER)
        grid = figure.subplots(layers, heads + 2, squeeze=False)
        figure.subplots_adjust(0.01, 0.12, 0.99, 0.78, wspace=0.06, hspace=0.06)
        for axis in grid.flat:
            axis.set_axis_off()
        for row in range(layers):
            grid[row, 0].imshow(1 - ink, cmap="gray", vmin=0, vmax=1)
            for column, share in enumerate((*shares[row], shares[row].mean(axis=0)), start=1):
                heat = _over(grid[row, column], ink, share)
                if row == 0:
                    name = f"head {column}" if column <= heads else "mean"
                    grid[row, column].set_title(name, fontsize=9, color=QUIET)
            grid[row, 0].set_title(f"layer {row + 1}", fontsize=9, color=QUIET, pad=3)
        bar = figure.add_axes((0.35, 0.07, 0.3, 0.02))
        figure.colorbar(heat, cax=bar, orientation="horizontal", ticks=[0, 1, 2, 3, MOST])
        bar.tick_params(labelsize=8, labelcolor=QUIET, length=0)
        figure.text(0.66, 0.062, "times an even share", color=QUIET, fontsize=8)
        figure.text(0.01, 0.93, title, fontsize=11)
        file = io.BytesIO()
        ENDINGS[path.suffix](figure).print_figure(file, format=path.suffix[1:])
    return files.replace(path, file.getvalue())


def _over(axis: matplotlib.axes.Axes, ink: NDArray[np.floating], share: NDArray[np.floating]):  # type: ignore[no-untyped-def]
    """Draw one hue over the cells and the ink above it; return what the scale is made of."""
    size = len(ink)
    heat = axis.imshow(share, cmap=HEAT, vmin=0, vmax=MOST, extent=(0, size, size, 0))
    shade = np.zeros((size, size, 4))
    shade[..., 3] = 0.75 * ink
    axis.imshow(shade, extent=(0, size, size, 0))
    return heat
