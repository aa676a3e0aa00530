"""Recogniser and Prediction: the one path from any image to a label.

Shapes: N images, P planes, S the side of the square, K classes, M background classes.
"""

import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError
from siglum.files import reading
from siglum.formatting import render_template
from siglum.images import characters, decode, ink, strokes
from siglum.images.ink import InkReport
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import Bundle
from siglum.recogniser.calibration import Predictions, apply_calibration
from siglum.recogniser.head import Floats, Head
from siglum.recogniser.onnx import MAX_THREADS, Network

if TYPE_CHECKING:
    from siglum.recogniser.fit import Fitted

BACKBONE = Path(__file__).with_name("backbone.siglum")
TOLERANCE = 1e-4  # of the largest reference logit; float32 summed in another order stays below 1e-5
BATCH = 256  # images preprocessed at once
POINT = (2, 3, 4)  # numbers of a point of a stroke: x, y, and perhaps time and pressure

Place = str | os.PathLike[str]
Strokes = Sequence[Sequence[Sequence[float]]]  # lists of points (x, y)
ImageLike = Place | bytes | NDArray[np.uint8] | Image.Image | Mapping[str, Any] | Strokes


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction for one image."""

    label: str  #: the most probable class, even if the image is rejected
    probability: float  #: in [0, 1]
    prediction_set: tuple[str, ...]  #: classes it may be, the most probable first
    rejected: bool  #: looks like none of the classes
    warnings: tuple[str, ...]  #: problems of the image, with the remedy
    ink: NDArray[np.uint8] = field(repr=False)  #: what the network sees, (S, S) or (C, S, S)
    report: InkReport | None = field(repr=False)  #: None if the recogniser does not extract ink
    inverted: bool  #: dark ink on light paper was inverted
    file: str | None
    ranking: tuple[tuple[str, float], ...] = field(repr=False)  #: all classes, probable ones first
    output: str  #: text to use, the class's own or its name; "" if rejected

    def output_as(self, kind: str) -> str:
        r"""Return the output as "text", "latex", "typst", "html" or "python": `\alpha` for α."""
        text = characters.output_as(self.label, self.output, kind)
        return self.output if self.rejected else text

    def to_dict(self) -> dict[str, Any]:
        """Return what `siglum predict --json` prints."""
        runner_up, runner_up_probability = (*self.ranking, ("", 0.0))[1]
        return {
            "file": self.file,
            "label": self.label,
            "probability": self.probability,
            "runner_up": runner_up,
            "runner_up_probability": runner_up_probability,
            "inverted": self.inverted,
            "prediction_set": list(self.prediction_set),
            "rejected": self.rejected,
            "warnings": list(self.warnings),
            "output": self.output,
        }

    def _repr_html_(self) -> str:
        pixels = self.ink if self.ink.ndim == 3 else self.ink[None]
        ink = decode.png_uri(pixels)
        return render_template("siglum.recogniser", "notebook.html", prediction=self, ink=ink)


class Input(NamedTuple):
    """An image as the network sees it."""

    planes: NDArray[np.uint8]  # (P, S, S)
    inverted: bool
    report: InkReport | None
    file: str | None


@dataclass(eq=False, repr=False)
class Recogniser:
    """A network, its classes and its calibration: a bundle or a run, ready to predict."""

    bundle: Bundle
    network: Callable[[NDArray[np.uint8]], Floats]  # images (N, P, S, S) to outputs (N, D)
    fitted: "Fitted | None" = None  # None if it was not taught here

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names, in label order."""
        return self.bundle.classes

    @property
    def outputs(self) -> Mapping[str, str]:
        """The outputs of classes, where they are not their names."""
        return self.bundle.outputs

    @property
    def preprocess(self) -> Preprocess:
        """How images become arrays."""
        return self.bundle.preprocess

    @property
    def head(self) -> Head:
        """The last layer, for recognisers whose network returns features."""
        assert self.bundle.head is not None
        return self.bundle.head

    def __repr__(self) -> str:
        more = " ..." if len(self.classes) > 10 else ""
        return f"Recogniser({len(self.classes)} classes: {' '.join(self.classes[:10])}{more})"

    def _repr_html_(self) -> str:
        return render_template("siglum.recogniser", "notebook.html", recogniser=self)

    @overload
    def predict(self, image: list[Any]) -> list[Prediction]: ...
    @overload
    def predict(self, image: ImageLike) -> Prediction: ...

    def predict(self, image: ImageLike | list[Any]) -> Prediction | list[Prediction]:
        """Predict an image, or a list of images.

        Args:
            image: a path, bytes, a uint8 array (H, W) or (H, W, 3), a Pillow image, or strokes:
                lists of points (x, y). A list of such images gives a list of predictions.

        Raises:
            DataError: if an image cannot be read.
        """
        images = as_list(image)
        predictions = self.predict_images(images)
        return predictions if images is image else predictions[0]

    def add(self, label: str, image: ImageLike | list[Any]) -> None:
        """Add a drawing, or a list of drawings, to a class; a new label adds a class.

        Raises:
            ConfigError: if the label is not text.
            DataError: if an image cannot be read or shows no ink, or the recogniser was not taught.
        """
        if not isinstance(label, str) or not label:
            raise ConfigError(f"label must be text, got {label!r}.")
        from siglum.recogniser import fit  # late: it builds on this module

        fit.add(self, label, preprocess_images(as_list(image), self.preprocess))

    def save(self, path: Place, title: str = "") -> None:
        """Write the recogniser as one file, a bundle; an existing file is replaced.

        Raises:
            DataError: if the file cannot be written.
        """
        from siglum.recogniser import fit  # late: it builds on this module

        bundle = self.bundle if self.fitted is None else fit.to_bundle(self.fitted, title)
        bundles.save(bundle, Path(path).expanduser())

    def predict_images(
        self, images: Sequence[ImageLike], unreadable: list[tuple[str, str]] | None = None
    ) -> list[Prediction]:
        """Predict images; those that cannot be read raise, or are added to `unreadable`."""
        predictions: list[Prediction] = []
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            inputs = preprocess_images(batch, self.preprocess, unreadable, start + 1)
            predictions += self.predict_inputs(inputs)
        return predictions

    def predict_inputs(self, inputs: Sequence[Input]) -> list[Prediction]:
        """Predict preprocessed images."""
        arrays = self.predict_arrays(*stack(inputs)) if inputs else ((), (), ())
        predictions = []
        for one, probs, in_set, rejected in zip(inputs, *arrays, strict=True):
            order = np.argsort(-probs, kind="stable")
            ranking = tuple((self.classes[label], float(probs[label])) for label in order)
            prediction = Prediction(
                label=ranking[0][0],
                probability=ranking[0][1],
                prediction_set=tuple(self.classes[label] for label in order[in_set[order]]),
                rejected=bool(rejected),
                warnings=tuple(one.report.warnings()) if one.report else (),
                ink=one.planes[0] if len(one.planes) != 3 else one.planes,
                report=one.report,
                inverted=one.inverted,
                file=one.file,
                ranking=ranking,
                output="" if rejected else self.outputs.get(ranking[0][0], ranking[0][0]),
            )
            predictions.append(prediction)
        return predictions

    def predict_arrays(
        self, images: NDArray[np.uint8], positions: Floats | None = None
    ) -> Predictions:
        """Predict preprocessed images (N, P, S, S); images without ink are rejected."""
        outputs = self.network(images)
        if self.bundle.head is not None:
            predictions = self.predict_features(self.head.features(outputs), positions)
        else:
            predictions = apply_calibration(outputs, self.bundle.calibration, len(self.classes))
        if self.preprocess.cuts_out:
            predictions.rejected[~images[:, 0].any(axis=(1, 2))] = True
        return predictions

    def predict_features(self, features: Floats, positions: Floats | None = None) -> Predictions:
        """Predict from features (N, D), each of length 1."""
        logits, nearest = self.head.logits_and_nearest(features, positions)
        return apply_calibration(logits, self.bundle.calibration, len(self.classes), nearest)

    def logits(self, images: NDArray[np.uint8], positions: Floats | None = None) -> Floats:
        """Return uncalibrated logits (N, K + M) of preprocessed images (N, P, S, S)."""
        outputs, head = self.network(images), self.bundle.head
        return outputs if head is None else head.logits(head.features(outputs), positions)

    def features(self, ink: NDArray[np.uint8]) -> Floats:
        """Return the features of extracted ink (N, S, S): float32 (N, D), each of length 1."""
        return self.head.features(self.network(ink[:, None]))


def preprocess_images(
    images: Sequence[ImageLike],
    preprocess: Preprocess,
    unreadable: list[tuple[str, str]] | None = None,
    first: int = 1,
    max_pixels: int = decode.MAX_JPEG_PIXELS,
) -> list[Input]:
    """Preprocess images; those that cannot be read raise, or are added to `unreadable`."""
    inputs: list[Input] = []
    for number, image in enumerate(images, first):
        file = decode.as_text(str(image)) if isinstance(image, str | os.PathLike) else None
        try:
            pixels = _pixels(image, preprocess, max_pixels)
            planes, report = ink.preprocess_image(pixels, preprocess)
        except DataError as error:
            name = file or f"image {number}"
            if unreadable is None:
                raise DataError(f"Cannot read {name}: {str(error).rstrip('.')}.") from None
            unreadable.append((name, str(error)))
            continue
        if report is not None:
            inverted = report.inverted
        else:
            light = decode.has_light_background(pixels[None])
            inverted = bool(decode.needs_inversion(light, preprocess)[0])
            planes = 255 - planes if inverted else planes
        inputs.append(Input(planes, inverted, report, file))
    return inputs


def stack(inputs: Sequence[Input]) -> tuple[NDArray[np.uint8], Floats]:
    """Return the planes (N, P, S, S) and the positions (N, 3) of inputs."""
    reports = [one.report for one in inputs]
    positions = [(r.height, r.width, r.position) if r else [math.nan] * 3 for r in reports]
    return np.stack([one.planes for one in inputs]), np.array(positions, np.float32)


def _pixels(image: ImageLike, preprocess: Preprocess, max_pixels: int) -> NDArray[np.uint8]:
    # For extracted ink, twice the working size is enough.
    channels = None if preprocess.cuts_out else preprocess.channels
    enough = 2 * ink.WORKING if preprocess.cuts_out else decode.MAX_SIDE
    if isinstance(image, str | os.PathLike):
        return decode.read(Path(image).expanduser(), channels, enough)
    if isinstance(image, Mapping):
        return strokes.rasterise(strokes.parse(dict(image)))[None]
    if isinstance(image, np.ndarray):
        shape = image.shape[:2] if image.shape[2:] == (1,) else image.shape
        if image.dtype != np.uint8 or len(shape) < 2 or shape[2:] not in ((), (3,), (4,)):
            kind = f"{image.dtype} {image.shape}"
            raise DataError(f"an array must be uint8 (H, W) or (H, W, 3), got {kind}")
        if len(shape) == 2 and image.size and max(shape) <= enough:  # no encoding, for speed
            return decode.to_channels(image.reshape(1, *shape), channels or 1)
        image = Image.fromarray(image.reshape(shape))
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        lossless = "PPM" if image.mode in ("L", "RGB") else "PNG"
        ImageOps.exif_transpose(image).save(buffer, lossless)
        image = buffer.getvalue()
    if isinstance(image, bytes):
        return decode.decode(image, channels, enough, max_pixels)
    if is_strokes(image):
        return strokes.rasterise(strokes.fit_to_pad(image, columns=2))[None]
    kinds = "a path, bytes, a uint8 array, a Pillow image or strokes"
    raise DataError(f"an image must be {kinds}, got {type(image).__name__}")


def as_list(image: ImageLike | Sequence[Any]) -> Sequence[Any]:
    """Return a list or tuple of images as it is, and one image as a list of one."""
    return image if isinstance(image, list | tuple) and not is_strokes(image) else [image]


def is_strokes(value: object) -> bool:
    """Return whether a value is a list of strokes: lists of points (x, y)."""
    try:
        point = value[0][0]  # type: ignore[index]
        # An array of floats has rows of more numbers than a point.
        return len(point) in POINT and isinstance(point[0], int | float)
    except (TypeError, LookupError):
        return False


def load(path: Place) -> Recogniser:
    """Open a bundle; raises DataError if it is not valid, or computes other outputs here."""
    path = Path(path).expanduser()
    with reading(path, DataError):
        raw = decode.read_bytes(path, bundles.MAX_BYTES + 1)
    return open_bundle(bundles.decode(raw, path.name), path.name)


def open_bundle(bundle: Bundle, name: str, threads: int = MAX_THREADS) -> Recogniser:
    """Return the recogniser of a bundle after verifying its reference outputs; see `load`."""
    images, expected = bundle.reference
    try:
        recogniser = Recogniser(bundle, Network(bundle.model, bundle.preprocess, threads))
        logits = recogniser.logits(images)[:, : len(bundle.classes)]
        difference = relative_error(logits, expected)
    except (DataError, ValueError) as error:  # shapes may not fit
        raise DataError(f"{name} cannot be used. {error}") from None
    if not difference <= TOLERANCE:
        rule = f"relative error {difference:.2g}, at most {TOLERANCE} is allowed"
        raise DataError(f"{name} computes other outputs here than where it was made: {rule}.")
    return recogniser


def relative_error(logits: Floats, reference: Floats) -> float:
    """Return the largest difference, divided by the largest reference; NaN if not finite."""
    difference = float(np.abs(logits.astype(np.float64) - reference).max())
    return difference / max(float(np.abs(reference).max()), float(np.finfo(np.float32).tiny))


@cache
def default_backbone() -> Recogniser:
    """Open the backbone that Siglum includes."""
    return load(BACKBONE)


def open_backbone(path: Path) -> Recogniser:
    """Open a backbone: a bundle whose network returns features, with a prototype per character."""
    recogniser = load(path)
    bundle = recogniser.bundle
    if bundle.card.kind != "backbone" or bundle.head is None or bundle.preprocess.resize != "glyph":
        raise DataError(f"{path} is not a backbone. Leave out --backbone to use Siglum's own.")
    return recogniser
