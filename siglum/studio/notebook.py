"""A drawing pad for notebooks: JupyterLab, VS Code, Colab and marimo."""

import os
import warnings
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from siglum.errors import ConfigError, SiglumError
from siglum.formatting import probability
from siglum.images import characters
from siglum.recogniser.find import Match, find
from siglum.recogniser.predict import Prediction, load
from siglum.studio.offline_page import join_scripts

TOP = 5  # answers in view


class Pad(anywidget.AnyWidget):
    """A drawing pad that shows the prediction while you draw.

    Args:
        recogniser: a recogniser, the path of a bundle, or a run; without one the pad names any
            character, as `siglum.find` does.

    Attributes:
        drawing: the drawing as JSON, with strokes of points (x, y, milliseconds, pressure); an
            image for `Recogniser.predict` and `Recogniser.add`. Setting it shows it.
        prediction: the `Prediction` of the recogniser; None without ink or recogniser.
        matches: without a recogniser, what `siglum.find` returns.
    """

    # One module, since a notebook has no server to import others from.
    _esm = join_scripts(("../page/dom.js", "../page/pad.js", "../notebook.js"))
    _css = Path(__file__).with_name("notebook.css")
    drawing = traitlets.Dict().tag(sync=True)
    answer = traitlets.Dict({"rows": [], "note": ""}).tag(sync=True)  # in view

    def __init__(self, recogniser: Any = None) -> None:
        if isinstance(recogniser, str | os.PathLike):
            recogniser = load(recogniser)
        if recogniser is not None and not hasattr(recogniser, "predict"):
            raise ConfigError(f"recogniser must be a recogniser or a path, got {recogniser!r:.60}.")
        self.recogniser = recogniser
        self.prediction: Prediction | None = None
        self.matches: list[Match] = []
        super().__init__()

    @property
    def strokes(self) -> list[list[list[float]]]:
        """The strokes: lists of points (x, y, milliseconds, pressure), x and y across the pad."""
        return list(self.drawing.get("strokes", []))

    def clear(self) -> None:
        """Remove the drawing."""
        self.drawing = {}

    @traitlets.observe("drawing")
    def _predict(self, _: object) -> None:
        self.prediction, self.matches = None, []
        rows, notes = list[tuple[str, str]](), list[str]()
        with warnings.catch_warnings(action="always", record=True) as caught:
            try:
                if self.strokes and self.recogniser is None:
                    self.matches = find(self.drawing, TOP)
                    rows = [(one.character, characters.name(one.character)) for one in self.matches]
                elif self.strokes and self.recogniser is not None:
                    self.prediction = prediction = self.recogniser.predict(self.drawing)
                    rows = [(label, probability(p)) for label, p in prediction.ranking[:TOP]]
                    notes = ["None of these."] * prediction.rejected + [*prediction.warnings]
            except SiglumError as error:
                notes = [str(error)]
        notes += [str(one.message) for one in caught]
        answer: dict[str, Any] = {"rows": rows, "note": " ".join(notes)}
        self.answer = answer
