"""Weights that are no run's: from a file, or those that torchvision offers for a network.

    file:weights.safetensors                        a safetensors file
    file:mobilenet_v3_small-047dcff4.pth            torchvision's own, or any other state_dict
    file:weights.safetensors#sha256=811b842335...   this file and no other
    torchvision                                     downloaded by torchvision, where it can

A file's place is looked for here, and then under SIGLUM_DATA. Nothing in a file is ever run:
pickles are read by torch's reader of tensors alone, which refuses all else.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from siglum.errors import ConfigError, DataError

FILE, TORCHVISION = "file:", "torchvision"
PIN = "#sha256="
PICKLES = (".pth", ".pt")
HEADS = ("classifier", "fc", "head")  # what torchvision, timm and we call a network's last part


def is_file(init: str) -> bool:
    """Say whether `init` names a file of weights."""
    return init.startswith(FILE)


def pinned(init: str) -> str:
    """Return `init` with the SHA-256 of the file that it names, so that it means this content only.

    Raises:
        ConfigError, DataError: if it has no SHA-256 yet and the file is not there.
    """
    name, digest = _parts(init)
    return f"{FILE}{name}{PIN}{digest or _digest(_find(name))}"


def digest_of(init: str) -> str:
    """Return the SHA-256 that `pinned` has written, 64 hexadecimal digits."""
    return _parts(init)[1]


def read(init: str) -> dict[str, Tensor]:
    """Return the tensors of the file that `init` names, without its head, on the CPU.

    Raises:
        ConfigError: if there is no such file, or its ending is none of ours.
        DataError: if it is not the one whose SHA-256 is given, is truncated, or holds anything
            but tensors; code in it is not run.
    """
    name, wanted = _parts(init)
    path = _find(name)
    if wanted and (found := _digest(path)) != wanted:
        raise DataError(
            f"{path} must have the SHA-256 {wanted}, got {found}. Give the file that was meant, or "
            f"leave {PIN} out of init."
        )
    tensors = _safetensors(path) if path.suffix == ".safetensors" else _pickle(path)
    return backbone(tensors)


def backbone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what belongs to a head: its classes are not known."""
    return {name: t for name, t in tensors.items() if name.partition(".")[0] not in HEADS}


def from_torchvision(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that torchvision offers for a network, without their head.

    Raises:
        ConfigError: if it offers none.
        DataError: if they cannot be downloaded; there is no falling back on random ones.
    """
    name = getattr(model, "torchvision_name", None)
    if name is None:
        raise ConfigError(
            "init torchvision must go with one of torchvision's networks (mobilenet_v3_large, "
            f"mobilenet_v3_small), got {type(model).__name__}. Give a run or file:FILE."
        )
    from torchvision.models import get_model_weights  # late: it takes a second to import

    weights = get_model_weights(name).DEFAULT
    try:
        tensors: dict[str, Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, RuntimeError) as error:  # no network, no such page; another file than expected
        raise DataError(
            f"init torchvision must be able to download {weights.url}, got {_first_line(error)}. "
            "Bring the file from elsewhere and give --init file:FILE, or train from scratch: "
            "--init scratch."
        ) from error
    return backbone(tensors)


def _parts(init: str) -> tuple[str, str]:
    """Return the file's name and its SHA-256, "" where none is given."""
    name, pin, digest = init.removeprefix(FILE).partition(PIN)
    if not name:
        raise ConfigError(f"init must name a file, as in file:weights.safetensors, got {init!r}.")
    if pin and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ConfigError(f"sha256 of init must be 64 hexadecimal digits, got {digest!r}.")
    return name, digest


def _find(name: str) -> Path:
    """Return the place of a file: here, or else under SIGLUM_DATA."""
    path = Path(name).expanduser()
    places = [path, Path(os.environ.get("SIGLUM_DATA", "")) / path]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        what = "a folder" if path.is_dir() else "nothing"
        raise ConfigError(
            f"init must name a file that is there, here or under SIGLUM_DATA, got {name}, which is "
            f"{what}. For a run leave {FILE} out."
        )
    if found.suffix not in (".safetensors", *PICKLES):
        raise ConfigError(
            f"init must name a file that ends in .safetensors, {' or '.join(PICKLES)}, got {name}."
        )
    return found


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} must be a file that can be read, got {error.strerror}.") from None


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path} must be a whole safetensors file, got one that is not ({_first_line(error)}). "
            "Copy or download it again."
        ) from None


def _pickle(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on old formats
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may raise anything in the reader
        called = re.search(r"GLOBAL (\S+)", str(error))  # torch advises to run it; we do not
        what = f"calls for {called[1]}" if called else "torch does not read"
        raise DataError(
            f"{path} must be a whole file of tensors and nothing else, got one that {what}. "
            "Nothing in it was run. Give a state_dict, or the weights as safetensors."
        ) from None
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    ):
        raise DataError(
            f"{path} must hold a state_dict, tensors by their names, got {_kind(found)}."
        )
    return dict(found)


def _kind(found: object) -> str:
    if not isinstance(found, Mapping):
        return f"a {type(found).__name__}"
    name = next(name for name, value in found.items() if not isinstance(value, Tensor))
    return f"a {type(found[name]).__name__} for {name!r}"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
