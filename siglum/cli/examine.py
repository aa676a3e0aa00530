"""`siglum examine`."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from siglum.cli import terminal
from siglum.errors import DataError
from siglum.lab.device import choose_machine
from siglum.lab.examine.attention import attention, received
from siglum.lab.predict import fitted, predict
from siglum.lab.runs import Run
from siglum.lab.training import normalised, to_unit
from siglum.report.attention import draw_attention


def examine(
    run: Path,
    file: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("attention.png"),
    weights: str | None = None,
    device: str = "auto",
) -> None:
    """Look inside a network: where its attention lies, for every layer and head, over a picture.

    A cell is shown by how much the others take from it. That is not how much it matters for the
    answer: later layers mix cells that have been mixed already.

    Example: siglum examine runs/a three.png -o three-attention.png

    Args:
        run: The run's folder; its network must be a conv_transformer.
        file: A picture file.
        out: The sheet, .png or .svg.
        weights: best or last; by default what the run stands for.
        device: auto, cpu, cuda or mps.
    """
    opened = Run(run)
    machine = choose_machine(device, "float32")
    seen = fitted([file], opened.preprocess)
    if seen.unreadable:
        name, reason = seen.unreadable[0]
        raise DataError(f"{terminal.printable(name)} must be a picture, but it {reason}.")
    unit = to_unit(seen.images)
    model = machine.place(opened.model(weights))
    given = attention(model, machine.lay(normalised(unit, opened.preprocess)))
    shares = received(given)[:, 0].cpu()  # (L, A, T)
    side = round(shares.shape[-1] ** 0.5)
    (answer,), _ = predict(opened, [file], machine, weights)
    title = f"Read as {answer.answer}, {terminal.percent(answer.probability)}"
    cells = shares.view(*shares.shape[:2], side, side).numpy()
    path = draw_attention(unit[0, 0].numpy(), cells, title, out)
    peak = torch.unravel_index(shares.argmax(), shares.shape)
    layer, head, cell = (int(index) for index in peak)
    print(f"answer      {terminal.printable(answer.answer)} {terminal.percent(answer.probability)}")
    print(
        f"attention   most on row {cell // side + 1}, column {cell % side + 1} of {side} x {side} "
        f"cells, in layer {layer + 1}, head {head + 1}: {float(shares.max()):.1f} times an even "
        "share"
    )
    print(f"Sheet: {path}")
