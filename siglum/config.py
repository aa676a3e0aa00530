"""Every setting, written once: the flag, its type, its default, its bound and its help.

A config holds what decides the outcome. Paths to write to, devices and worker counts are
arguments of the functions that need them, so that two runs with equal configs are the same run.
Order of authority: the defaults here, the model's own recipe (`RECIPES`), a file, the flags.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from siglum.errors import ConfigError, nearest

Option = bool | int | float | str


def _number(value: object) -> object:
    """Take "3" for 3 and "0.5" for 0.5, since the command line knows only text."""
    for kind in (int, float):
        try:
            return kind(value) if isinstance(value, str) else value
        except ValueError:
            continue
    return value


def _option(value: object) -> object:
    """Take "true" and "false" for what they say, too."""
    return (
        {"true": True, "false": False}.get(value, _number(value))
        if isinstance(value, str)
        else value
    )


Channels = Annotated[Literal[1, 3], BeforeValidator(_number)]
Fit = Literal["pad", "stretch", "glyph"]


class Settings(BaseModel):
    """Base of the settings classes: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


class Preprocess(Settings):
    """How any picture becomes what the network sees; saved with every run.

    Bytes are fitted to `size`, then scaled: `(byte / 255 - mean) / std`.
    """

    size: int = Field(28, ge=8, le=1024, description="Side of the square the network sees, px.")
    channels: Channels = Field(1, description="1 for grey, 3 for colour.")
    fit: Fit = Field(
        "pad",
        description="Fit into the square with margins of paper, stretch to fill it, or cut out the "
        "ink and centre it.",
    )
    place: bool = Field(
        False, description="Planes of the ink's height, width and vertical place follow the ink."
    )
    ink: Literal["light", "keep"] = Field(
        "light",
        description="Turn dark ink on light paper into light ink on dark, or keep what is there.",
    )
    frame: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the side that the ink of the training pictures fills, where they "
        "were cut out and centred as they came; measured.",
    )
    mean: float = Field(0.0, description="Subtracted from bytes / 255.")
    std: float = Field(1.0, gt=0, description="Divided by, after the mean.")

    @property
    def cuts_out(self) -> bool:
        """Whether ink is cut out of other pictures than those that were trained on."""
        return self.fit == "glyph" or self.frame is not None

    @property
    def planes(self) -> int:
        """How many channels the network sees: those of the picture, and three with `place`."""
        return self.channels + (3 if self.place else 0)

    @property
    def scaling(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What is subtracted from bytes / 255 of each plane, and what is divided by then.

        No mean is measured of the planes of `place`: they become [-2, 2], about as wide as ink.
        """
        places = self.planes - self.channels
        subtracted = (self.mean,) * self.channels + (0.5,) * places
        return subtracted, (self.std,) * self.channels + (0.25,) * places

    @model_validator(mode="after")
    def _glyphs_agree(self) -> "Preprocess":
        _check_glyphs(self.fit, self.place, self.channels, self.ink)
        return self


# What a model is trained with unless told otherwise. The defaults below are glyph_net's, chosen
# on a tenth of the training pictures held out. Report 2 trains its three networks with what its
# code says; the weights are chosen by validation, not by the training loss as there.
# Report 1 trains its two networks in one way, in batches of 8 pictures for its 62 classes and of 64
# for MNIST.
_REPORT_1: dict[str, Any] = {
    "size": 200,
    "fit": "stretch",
    "mean": 0.5,
    "std": 0.5,
    "batch_size": 64,
    "optimizer": "adam",
    "lr": 1e-4,
    "weight_decay": 1e-4,
    "schedule": "constant",
    "label_smoothing": 0.0,
    "augment": ("rotate",),
    "weights": "best",
}
_REPORT_2: dict[str, Any] = {
    "batch_size": 64,
    "lr": 0.01,
    "momentum": 0.5,
    "nesterov": False,
    "weight_decay": 0.0,
    "schedule": "constant",
    "label_smoothing": 0.0,
    "augment": (),
    "weights": "best",
    "seed": 3,
}
# Mean and deviation are those of ImageNet's pictures, over their three colours.
_MOBILENET: dict[str, Any] = {
    "size": 64,
    "mean": 0.449,
    "std": 0.226,
    "batch_size": 64,
    "optimizer": "adamw",
    "lr": 1e-3,
    "weight_decay": 0.01,
    "augment": ("crop",),
}
RECIPES: dict[str, dict[str, Any]] = {
    "conv_pool": _REPORT_1,
    "conv_transformer": _REPORT_1,
    "mnist_net": _REPORT_2,
    "mnist_net2": _REPORT_2,
    "mnist_net3": _REPORT_2,
    "mobilenet_v3_large": _MOBILENET,
    "mobilenet_v3_small": _MOBILENET,
    "sign_net": {
        "size": 40,
        "fit": "glyph",
        "batch_size": 256,
        "lr": 0.2,
        "weight_decay": 1e-4,
        "augment": ("written",),
    },
    "picture_net": {
        "model_options": {"mirror": True},
        "epochs": 12,
        "augment": ("flip", "crop", "erase"),
    },
}


class TrainConfig(Settings):
    """Everything that decides how a network comes out of a training."""

    data: str = Field("mnist5k", description="Where the training pictures come from.")
    test: str | None = Field(
        None, description="Where the test pictures come from, if not the data's own test part."
    )
    rename: dict[str, str] = Field(
        default_factory=dict, description="New names of classes; two with one name are merged."
    )
    only: tuple[str, ...] = Field((), description="Classes to keep; all when none is named.")
    writers: str | None = Field(
        None, description="Regular expression whose first group finds the writer in a file name."
    )
    split: Literal["stratified", "writer"] = Field(
        "stratified", description="Hold out pictures of every class alike, or whole writers."
    )
    val: float = Field(
        0.1, ge=0, lt=1, description="Share of the training pictures held out to validate."
    )
    val_most: int | None = Field(
        None, ge=1, description="Validate on at most so many of those, drawn by the seed."
    )
    per_class: int | None = Field(
        None, ge=1, description="Train on so many pictures of every class, drawn by the seed."
    )
    folds: int | None = Field(
        None, ge=2, description="Cut the pictures into so many parts and test on one of them."
    )
    fold: int = Field(0, ge=0, description="Which of the folds is tested on: 0 for the first.")
    seed: int = Field(0, ge=0, lt=2**31, description="Decides the split, weights, order, chance.")

    model: str = Field("glyph_net", description="The network's name.")
    model_options: dict[str, Option] = Field(
        default_factory=dict, description="Free sizes of the network, such as filters."
    )

    init: str = Field(
        "scratch",
        description="Begin with random weights, or with those of this run, of file:FILE, or of "
        "torchvision.",
    )
    shuffle: bool = Field(
        False, description="Shuffle the adopted weights within each tensor: a control."
    )
    freeze: tuple[str, ...] = Field(
        (), description="What stays as it is: backbone, or names of the network's parts."
    )

    size: int = Field(28, ge=8, le=1024, description="Side of the square the network sees, px.")
    channels: Channels = Field(1, description="1 for grey, 3 for colour.")
    fit: Fit = Field(
        "pad",
        description="Fit pictures in with margins of paper, stretch them, or cut out the ink and "
        "centre it.",
    )
    place: bool = Field(
        False,
        description="Also show the network height, width and vertical place of the ink; with "
        "fit glyph.",
    )
    ink: Literal["light", "keep"] = Field(
        "light", description="Show ink light on dark whatever it was, or keep it as it is."
    )
    mean: float | None = Field(None, description="Mean of bytes / 255; measured when not given.")
    std: float | None = Field(None, gt=0, description="Their deviation; measured when not given.")

    epochs: int | None = Field(
        None, ge=1, description="Passes over the training pictures; by default about 72,000 shown."
    )
    epoch_size: int | None = Field(
        None, ge=1, description="Pictures drawn for an epoch; by default as many as there are."
    )
    balance: float = Field(
        0.0, ge=0, le=1, description="Draw classes as often as they come (0), all alike (1)."
    )
    beside: str = Field("", description="A further source to train on; none of it is held out.")
    prefer: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="How often a writer's pictures are drawn, against others of their class.",
    )
    batch_size: int = Field(128, ge=1, description="Pictures a step.")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("sgd", description="Who takes the step.")
    lr: float = Field(0.1, gt=0, description="Learning rate, at its highest.")
    lr_decay: float = Field(
        1.0, gt=0, le=1, description="Factor of the rate a step deeper: 1 at the head, then less."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD's momentum.")
    nesterov: bool = Field(True, description="SGD looks ahead (Nesterov).")
    weight_decay: float = Field(5e-4, ge=0, description="Pull of the weights towards zero.")
    schedule: Literal["one-cycle", "constant"] = Field(
        "one-cycle", description="Learning rate up, then down a cosine to 0; or constant."
    )
    warmup: float = Field(0.25, ge=0, lt=1, description="Share of a one-cycle spent going up.")
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="Probability moved off the label, spread over all classes."
    )
    dropout_until: float = Field(
        1.0, gt=0, le=1, description="Share of the training after which dropout stays off."
    )
    augment: tuple[str, ...] = Field(("affine",), description="Changes made to training pictures.")
    weights: Literal["last", "best", "lowest_loss"] = Field(
        "last",
        description="What the run stands for: its last weights, the best validated, or those of "
        "the lowest training loss.",
    )

    @model_validator(mode="before")
    @classmethod
    def _recipe_first(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        recipe = RECIPES.get(str(data.get("model")), {})
        options = data.get("model_options", {})
        if "model_options" in recipe and isinstance(options, Mapping):
            data = {**data, "model_options": {**recipe["model_options"], **options}}
        return {**recipe, **data}

    @field_validator("model_options", mode="before")
    @classmethod
    def _numbers(cls, options: Any) -> Any:
        if not isinstance(options, Mapping):
            return options
        return {name: _option(value) for name, value in options.items()}

    @model_validator(mode="after")
    def _settings_agree(self) -> "TrainConfig":
        _check_glyphs(self.fit, self.place, self.channels, self.ink)
        _check_folds(self.folds, self.fold, self.test)
        return self

    def preprocess(self, mean: float = 0.0, std: float = 1.0) -> Preprocess:
        """Return how pictures reach the network; the measured `mean` and `std` fill the gaps."""
        return Preprocess(
            size=self.size,
            channels=self.channels,
            fit=self.fit,
            place=self.place,
            ink=self.ink,
            mean=mean if self.mean is None else self.mean,
            std=std if self.std is None else self.std,
        )


def _check_glyphs(fit: str, place: bool, channels: int, ink: str) -> None:
    """Raise ConfigError where cutting out the ink does not go with the other settings."""
    if place and fit != "glyph":
        raise ConfigError(
            f"place must go with fit 'glyph', which finds the ink, got fit {fit!r}. "
            "Set fit to glyph, or leave place out."
        )
    if fit == "glyph" and channels != 1:
        raise ConfigError(
            f"channels must be 1 with fit 'glyph', which keeps nothing but ink, got {channels}. "
            "Set channels to 1, or fit to pad."
        )
    if fit == "glyph" and ink == "keep":
        raise ConfigError(
            "ink must be 'light' with fit 'glyph', which makes all ink light, got 'keep'. "
            "Leave ink out, or set fit to pad."
        )


def _check_folds(folds: int | None, fold: int, test: str | None) -> None:
    """Raise ConfigError where a fold is asked for that is not there, or beside another test set."""
    if fold and folds is None:
        raise ConfigError(f"fold must go with folds, got {fold} alone. Give folds, too.")
    if folds is not None and fold >= folds:
        raise ConfigError(f"fold must be below folds, which is {folds}, got {fold}.")
    if folds is not None and test is not None:
        raise ConfigError(
            f"test must be left out with folds, one of which is tested on, got {test!r}. "
            "Leave out test, or folds."
        )


def build(cls: type[S], settings: Mapping[str, Any]) -> S:
    """Return `cls(**settings)`.

    Raises:
        ConfigError: if a setting is unknown, of the wrong type or out of bounds.
    """
    try:
        return cls(**settings)
    except ValidationError as error:
        raise ConfigError(explain(error, cls)) from None


_BOUNDS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt"}
_BOUNDS |= {"less_than_equal": "le"}
_WORDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
_TYPES |= {"tuple": "a list", "dict": "a table of names", "model": "a table"}


def explain(error: ValidationError, cls: type[BaseModel]) -> str:
    """Return the first broken rule in our words: the name, the rule, the value."""
    first = error.errors()[0]
    place = first["loc"][:2]  # behind them: the first of an option's types, which was tried
    name = ".".join(str(part) for part in place) or cls.__name__
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    if isinstance(context.get("error"), ConfigError):
        return str(context["error"])
    if kind == "extra_forbidden":
        known = list(cls.model_fields)
        hint = nearest(name, known) or f" Known: {', '.join(known)}."
        return f"unknown setting {name!r}.{hint}"
    if bound := _BOUNDS.get(kind):
        rule = f"{_WORDS[bound]} {context[bound]}"
    elif kind == "finite_number":
        rule = "a finite number"
    elif kind == "literal_error":
        rule = f"one of {context['expected']}"
    elif place != first["loc"]:
        rule = "true, false, a number or text"
    else:  # such as "int_parsing" or "tuple_type"
        rule = _TYPES.get(kind.partition("_")[0], "another kind of value")
    return f"{name} must be {rule}, got {value!r}."
