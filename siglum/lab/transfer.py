"""Initial weights from a run, a file or torchvision; a new head; frozen parts.

    runs/first                                      a finished run
    file:weights.safetensors                        a file, here or under SIGLUM_DATA
    file:mobilenet_v3_small-047dcff4.pth            tensors only: code in a .pth is never run
    file:weights.safetensors#sha256=811b842335...   this content and no other
    torchvision                                     downloaded by torchvision

The backbone is loaded completely or not at all. The head is loaded if classes and shapes agree.
"""

import hashlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from siglum.errors import ConfigError, DataError, RunError, closest_match
from siglum.files import data_dir
from siglum.lab.models import count_parameters
from siglum.lab.runs import Run, on_cpu, shape_of
from siglum.lab.training import derive_seed

SCRATCH, TORCHVISION = "scratch", "torchvision"
BACKBONE = "backbone"  # in `freeze`: everything but the head
FILE, PIN = "file:", "#sha256="
SUFFIXES = (".safetensors", ".pth", ".pt")
HEADS = ("classifier", "fc", "head")  # torchvision's, timm's and our names of the last part


@dataclass(frozen=True)
class InitInfo:
    """The initial weights of a training; `init` in the run's env.json."""

    run: str  # the parent's folder, "file:NAME" or "torchvision"
    sha256: str  # of the loaded tensors
    seconds: float | None  # of training before, with the parent's own parents, if known
    examples: int | None  # images shown before, likewise
    shuffled: bool
    adopted: tuple[str, ...]  # loaded tensors
    reset: tuple[str, ...]  # tensors that keep random values: the new head
    adopted_numbers: int
    reset_numbers: int


@dataclass(frozen=True)
class _Parent:
    name: str
    tensors: Mapping[str, Tensor]
    remedy: str
    classes: tuple[str, ...] | None = None  # None if unknown
    seconds: float | None = None
    examples: int | None = None


def load_pretrained(
    model: nn.Module,
    classes: tuple[str, ...],
    init: str | Path,
    *,
    shuffle_seed: int | None = None,
) -> InitInfo:
    """Load initial weights into `model`, in place.

    Args:
        classes: of the new run; the parent's head is loaded only if it has the same.
        init: a run's folder, "file:NAME" or "torchvision".
        shuffle_seed: permute the numbers within each tensor by this seed: a control.

    Raises:
        ConfigError, DataError: if a file or a download cannot be used.
        RunError: if a run is not finished, or the backbone differs; names the first difference.
    """
    parent = _parent(model, str(init))
    ours, theirs = model.state_dict(), parent.tensors
    reset = []
    for name, tensor in ours.items():
        loaded = theirs.get(name)
        same_shape = loaded is not None and loaded.shape == tensor.shape
        if name.startswith("head.") and (parent.classes != classes or not same_shape):
            reset.append(name)
        elif not same_shape:
            raise _difference(parent, name, tensor, loaded)
    for name in theirs:
        if name not in ours and not name.startswith("head."):
            raise _difference(parent, name, None, theirs[name])
    tensors = {name: theirs[name].to(ours[name].dtype) for name in ours if name not in reset}
    if shuffle_seed is not None:
        tensors = {name: _shuffle(t, shuffle_seed, name) for name, t in tensors.items()}
    model.load_state_dict(tensors, strict=False)
    return InitInfo(
        run=parent.name,
        sha256=hashlib.sha256(save(on_cpu(tensors))).hexdigest(),
        seconds=parent.seconds,
        examples=parent.examples,
        shuffled=shuffle_seed is not None,
        adopted=tuple(tensors),
        reset=tuple(reset),
        adopted_numbers=sum(tensor.numel() for tensor in tensors.values()),
        reset_numbers=sum(ours[name].numel() for name in reset),
    )


def _parent(model: nn.Module, init: str) -> _Parent:
    if init == TORCHVISION:
        return _Parent(init, _from_torchvision(model), "Please report this.")
    if is_file(init):
        remedy = "Choose the model and the options that the weights belong to."
        return _Parent(init.partition(PIN)[0], read_weights(init), remedy)
    if Path(init).suffix in SUFFIXES and Path(init).is_file():
        raise ConfigError(f"init {init} is a file of weights. Write --init file:{init}")
    run = Run(Path(init))
    if run.result is None:
        raise RunError(f"{init} is not finished. Resume it with: siglum train --resume {init}")
    before: dict[str, Any] = run.env.get("init") or {"seconds": 0.0, "examples": 0}
    last, known = run.epochs[-1], before["seconds"] is not None
    return _Parent(
        name=init,
        tensors=run.model().state_dict(),
        remedy=f"Use its settings: --model {run.config.model} --size {run.preprocess.size} "
        f"--channels {run.preprocess.channels}, and its model options.",
        classes=run.classes,
        seconds=last.seconds + before["seconds"] if known else None,
        examples=last.examples + before["examples"] if known else None,
    )


def freeze(model: nn.Module, parts: tuple[str, ...]) -> None:
    """Exclude parts of a network from training; frozen batch normalisations keep their statistics.

    Args:
        parts: "backbone" for everything but the head, or names of modules or parameters.

    Raises:
        ConfigError: if a part is unknown, or nothing remains to train.
    """
    for part in parts:
        parameters = [
            parameter
            for name, parameter in model.named_parameters()
            if (part == BACKBONE and not name.startswith("head."))
            or name == part
            or name.startswith(f"{part}.")
        ]
        if not parameters:
            names = [BACKBONE, *(name for name, _ in model.named_children())]
            raise ConfigError(
                f"The network has no part {part!r} to freeze. Parts: {', '.join(names)}, and parts "
                f"of these.{closest_match(part, names)}"
            )
        for parameter in parameters:
            parameter.requires_grad_(False)
    if not count_parameters(model):
        raise ConfigError(
            f"freeze {', '.join(parts)} leaves nothing to train. With {BACKBONE} alone the head "
            "is trained."
        )


def describe(
    init: Mapping[str, Any] | None, parts: tuple[str, ...], trained: int, parameters: int
) -> str:
    """Describe initial weights, the head, frozen parts and how many parameters are trained.

    Args:
        init: an `InitInfo` as a dict, or None for random weights.
        parts: frozen parts.
        trained: parameters that are trained, of `parameters`.
    """
    text = "random weights"
    if init is not None:
        shuffled = ", shuffled within each tensor" if init["shuffled"] else ""
        text = f"{init['adopted_numbers']:,} numbers of {init['run']}{shuffled}; "
        new = init["reset_numbers"]
        text += f"a new head of {new:,}" if new else "and its head: the classes are the same"
    if parts:
        text += f"; frozen: {', '.join(parts)}"
    return f"{text}; {trained:,} of {parameters:,} parameters trained"


def is_file(init: str) -> bool:
    """Return whether `init` names a file of weights."""
    return init.startswith(FILE)


def pin(init: str) -> str:
    """Return `init` with the SHA-256 of its file, so that it means this content only.

    Raises:
        ConfigError, DataError: if it has no SHA-256 yet and the file cannot be read.
    """
    name, digest = _split(init)
    return f"{FILE}{name}{PIN}{digest or _sha256(_locate(name))}"


def pinned_digest(init: str) -> str:
    """Return the SHA-256 that `pin` added, 64 hexadecimal digits."""
    return _split(init)[1]


def read_weights(init: str) -> dict[str, Tensor]:
    """Return the tensors of the file that `init` names, without its head, on the CPU.

    Raises:
        ConfigError: if there is no such file, or its suffix is unknown.
        DataError: if its SHA-256 is another, it is damaged, or contains anything but tensors.
    """
    name, expected = _split(init)
    path = _locate(name)
    if expected and (actual := _sha256(path)) != expected:
        raise DataError(
            f"{path} has the SHA-256 {actual}, not {expected}. Use the right file, or leave out "
            f"{PIN}."
        )
    return _without_head(_read_safetensors(path) if path.suffix == SUFFIXES[0] else _read_pth(path))


def _without_head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t for name, t in tensors.items() if name.partition(".")[0] not in HEADS}


def _from_torchvision(model: nn.Module) -> dict[str, Tensor]:
    name = getattr(model, "torchvision_name", None)
    if name is None:
        raise ConfigError(
            f"torchvision has no weights for {type(model).__name__}. Use --model "
            "mobilenet_v3_large or mobilenet_v3_small, or --init file:FILE."
        )
    from torchvision.models import get_model_weights  # takes a second to import

    weights = get_model_weights(name).DEFAULT
    try:
        tensors: dict[str, Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, RuntimeError) as error:  # no network, no such page; another hash
        raise DataError(
            f"Cannot download {weights.url}: {_first_line(error)}. Copy the file from another "
            "machine and use --init file:FILE, or train from scratch: --init scratch."
        ) from error
    return _without_head(tensors)


def _split(init: str) -> tuple[str, str]:
    name, pin_mark, digest = init.removeprefix(FILE).partition(PIN)
    if not name:
        raise ConfigError(f"init must name a file, as in file:weights.safetensors, got {init!r}.")
    if pin_mark and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ConfigError(f"sha256 of init must be 64 hexadecimal digits, got {digest!r}.")
    return name, digest


def _locate(name: str) -> Path:
    path = Path(name).expanduser()
    places = [path, (data_dir() or Path()) / path]
    located = next((place for place in places if place.is_file()), None)
    if located is None:
        if path.is_dir():
            raise ConfigError(f"{name} is a folder. For a run, leave out {FILE}")
        raise ConfigError(f"No such file: {name}, neither here nor under SIGLUM_DATA.")
    if located.suffix not in SUFFIXES:
        raise ConfigError(f"init must name a file with suffix {', '.join(SUFFIXES)}, got {name}.")
    return located


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path} is damaged: {_first_line(error)}. Copy or download it again."
        ) from None


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about old formats
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may raise anything in the reader
        called = re.search(r"GLOBAL (\S+)", str(error))  # torch suggests to run it; we never do
        reason = f"it calls {called[1]}" if called else "PyTorch cannot read it"
        raise DataError(
            f"{path} is not a file of tensors only: {reason}. No code in it was run. Save a "
            "state_dict, or safetensors."
        ) from None
    if not isinstance(loaded, Mapping):
        raise DataError(f"{path} must be a state_dict, got {type(loaded).__name__}.")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise DataError(f"{path} must be a state_dict, got {type(value).__name__} at {name!r}.")
    return dict(loaded)


def _shuffle(tensor: Tensor, seed: int, name: str) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, f"shuffle {name}", 0))
    return tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].view(tensor.shape)


def _difference(parent: _Parent, name: str, ours: Tensor | None, theirs: Tensor | None) -> RunError:
    return RunError(
        f"The weights of {parent.name} do not fit: {name!r} has {shape_of(theirs)}, the new "
        f"network {shape_of(ours)}. {parent.remedy}"
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
