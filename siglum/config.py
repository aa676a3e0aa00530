"""Settings: name, type, default, bounds and help text, each written once.

A config holds everything that decides a result, so two runs with equal configs are the same run.
`curve` decides nothing and is no part of a run's hash; it is a setting so that it resumes.
Output paths, devices and thread counts are arguments of functions instead.
Precedence: command line, file, the model's recipe (`recipes.toml`), the defaults here.
"""

import json
import math
import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from siglum.errors import ConfigError, closest_match


@cache
def recipes() -> dict[str, dict[str, Any]]:
    """Return the settings that come with a model, by model."""
    text = Path(__file__).with_name("recipes.toml").read_text("utf-8")
    return {model: r for r in tomllib.loads(text)["recipes"] for model in r.pop("models")}


def _parse(value: object) -> object:
    """Parse "3", "0.5", "true" and "True": the command line passes text. NaN remains text."""
    try:
        parsed = json.loads(value.lower()) if isinstance(value, str) else value
        return parsed if isinstance(parsed, int | float) and math.isfinite(parsed) else value
    except (ValueError, OverflowError):
        return value


Option = Annotated[bool | int | float | str, BeforeValidator(_parse)]


class Settings(BaseModel):
    """Base of the settings classes: frozen, and an unknown name is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        defer_build=True,  # of a validator, until it is needed: commands start sooner
    )


S = TypeVar("S", bound=Settings)


class InputSettings(Settings):
    """How an image becomes the bytes of the network's input."""

    model_config = ConfigDict(use_attribute_docstrings=True)  # as help texts

    size: int = Field(28, ge=8, le=1024)
    """Side of the square input in pixels."""
    channels: Annotated[Literal[1, 3], BeforeValidator(_parse)] = 1
    """1 for grey, 3 for colour."""
    resize: Literal["pad", "stretch", "glyph"] = "pad"
    """Pad to a square, stretch to a square, or crop to the ink and centre it."""
    position_channels: bool = False
    """Add channels with height, width and vertical position of the ink; needs resize glyph."""
    polarity: Literal["light", "keep"] = "light"
    """Invert dark ink on light paper, or keep the image's polarity."""

    def check_glyph(self) -> Self:
        """Raise ConfigError if settings do not fit `resize`."""
        if self.position_channels and self.resize != "glyph":
            raise ConfigError(f"position_channels needs resize 'glyph', got {self.resize!r}.")
        if self.resize == "glyph" and (self.channels != 1 or self.polarity == "keep"):
            got = f"{self.channels} and {self.polarity!r}"
            raise ConfigError(f"resize 'glyph' needs channels 1 and polarity 'light', got {got}.")
        return self


class Preprocess(InputSettings):
    """How an image becomes the network's input; saved with every run and bundle.

    Bytes are scaled to `(byte / 255 - mean) / std`.
    """

    margins: float | None = Field(None, gt=0, le=1)
    """Share of the side that the ink of centred training images fills; measured."""
    mean: float = 0.0
    """Subtracted from bytes / 255."""
    std: float = Field(1.0, gt=0)
    """Divisor after the mean is subtracted."""

    _check = model_validator(mode="after")(InputSettings.check_glyph)

    @property
    def cuts_out(self) -> bool:
        """Whether ink is cropped and centred: always, or in images unlike the training images."""
        return self.resize == "glyph" or self.margins is not None

    @property
    def planes(self) -> int:
        """Number of input channels, position channels included."""
        return self.channels + (3 if self.position_channels else 0)

    @property
    def scaling(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and divisor of every input channel; position channels become [-2, 2]."""
        positions = self.planes - self.channels
        means = (self.mean,) * self.channels + (0.5,) * positions
        return means, (self.std,) * self.channels + (0.25,) * positions


class TrainSettings(InputSettings):
    """The settings of a training one by one: without a recipe, and combinations unchecked."""

    data: str = "mnist5k"
    """Source of the training images."""
    test: str | None = None
    """Source of the test images, instead of the data's own test part."""
    rename: dict[str, str] = {}
    """New names of classes; equal names are merged."""
    classes: tuple[str, ...] = ()
    """Classes to use; all by default."""
    writers: str | None = None
    """Regular expression whose first group is the writer in a file name."""
    split: Literal["stratified", "writer"] = "stratified"
    """Hold out images of every class, or whole writers."""
    val: float = Field(0.1, ge=0, lt=1)
    """Share of the training images held out for validation."""
    samples_per_class: int | None = Field(None, ge=1)
    """Train on this many random images per class."""
    folds: int | None = Field(None, ge=2)
    """Number of folds; one of them is the test set."""
    fold: int = Field(0, ge=0)
    """Index of the test fold; 0 is the first."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the split, the weights, the order and the steps."""

    model: str = "glyph_net"
    """Name of the network, or file.py:Class."""
    model_options: dict[str, Option] = {}
    """Options of the network, such as its width."""
    init: str = "scratch"
    """Initial weights: scratch, a run's folder, file:FILE, backbone, gabor, sobel or laws."""
    freeze: tuple[str, ...] = ()
    """Parts that are not trained: backbone, or names of modules."""
    mean: float | None = None
    """Mean of bytes / 255; measured by default."""
    std: float | None = Field(None, gt=0)
    """Standard deviation of bytes / 255; measured by default."""

    epochs: int | None = Field(None, ge=1)
    """Passes over the training images; by default they show about 72,000."""
    batch_size: int = Field(128, ge=2)
    """Images per step."""
    optimizer: Literal["nesterov", "sgd", "adam", "adamw"] = "nesterov"
    """Optimiser; nesterov is SGD with Nesterov momentum."""
    lr: float = Field(0.1, gt=0)
    """Maximum learning rate."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD."""
    weight_decay: float = Field(5e-4, ge=0)
    """Weight decay."""
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    """Learning rate: linear warm-up and cosine decay, or constant."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Probability spread from the label over all classes."""
    average: float = Field(0.0, ge=0, lt=1)
    """Decay of the moving average of the weights that is validated and saved; 0 is none."""
    augment: tuple[str, ...] = ("affine",)
    """Augmentations, in order."""
    checkpoint: Literal["last", "best", "lowest_loss"] = "last"
    """Weights to report: of the last epoch, the best validation, or the lowest training loss."""
    curve: Literal["test"] | None = None
    """Also measure the test images after each epoch. Takes time; changes and chooses nothing."""


class TrainConfig(TrainSettings):
    """Everything that decides the result of a training.

    `model_fields_set` names what the caller set; values from the model's recipe are not in it.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _apply_recipe(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, Mapping):
            return handler(data)
        recipe = recipes().get(str(data.get("model")), {})
        settings, options = {**recipe, **data}, data.get("model_options", {})
        if isinstance(options, Mapping):
            settings["model_options"] = {**recipe.get("model_options", {}), **options}
        config = handler(settings)
        config.model_fields_set.intersection_update(data)
        return config

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.check_glyph()
        if self.fold >= (folds := self.folds or 1):
            raise ConfigError(f"fold must be below the number of folds ({folds}), got {self.fold}.")
        if self.folds is not None and self.test is not None:
            raise ConfigError(f"Cannot combine folds with test {self.test!r}. Leave one out.")
        return self

    def preprocess(self, mean: float = 0.0, std: float = 1.0) -> Preprocess:
        """Return the preprocessing; measured `mean` and `std` are used where none are set."""
        return Preprocess(
            **self.model_dump(include=set(InputSettings.model_fields)),
            mean=mean if self.mean is None else self.mean,
            std=std if self.std is None else self.std,
        )


def build(cls: type[S], settings: Mapping[str, Any]) -> S:
    """Return `cls(**settings)`; raises ConfigError for a setting that breaks a rule."""
    try:
        return cls(**settings)
    except ValidationError as error:
        raise ConfigError(explain(error, cls.model_fields)) from None


def explain(error: ValidationError, names: Collection[str] = ()) -> str:
    """Describe the first broken rule of a pydantic error: the setting, the rule, the value.

    `names` are those of all settings, for the hint on an unknown one.
    """
    first = error.errors()[0]
    location, kind = [str(part) for part in first["loc"]], first["type"]
    if isinstance(reason := first.get("ctx", {}).get("error"), ConfigError):
        return str(reason)
    if kind == "extra_forbidden":
        settings = f" Settings: {', '.join(names)}." if names else ""
        return f"unknown setting {location[-1]!r}.{closest_match(location[-1], names) or settings}"
    name = ".".join(location[:2]) or "it"
    if kind == "missing":
        return f"{name} is missing."
    rule = first["msg"].partition(",")[0].removeprefix("Input should ").replace("tuple", "list")
    if location and location[-1] in ("bool", "int", "float", "str"):  # one of an Option's types
        rule = "be true, false, a number or text"
    return f"{name} must {rule}, got {first['input']!r}."
