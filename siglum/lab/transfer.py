"""Initial weights from a run or a file; a new head; frozen parts.

    runs/first                                      a finished run
    backbone                                        the included one, for `sign_net`
    gabor, laws, sobel                              the first filters; the rest random
    file:mobilenet_v3_small-047dcff4.pth            tensors only: code in a .pth is never run
    file:weights.safetensors#sha256=811b842335...   this content and no other

The backbone is loaded completely or not at all. The head is loaded if classes and shapes agree.
"""

import hashlib
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from siglum.errors import ConfigError, DataError, RunError, SiglumError, closest_match, first_line
from siglum.files import data_dir, sha256
from siglum.lab.filter_banks import FILTER_BANKS, filter_bank
from siglum.lab.models import FITTED, count_parameters
from siglum.lab.models.pretrained import included_weights
from siglum.lab.run_folder import CONFIG, Run, load_weights, on_cpu

SCRATCH = "scratch"
BACKBONE = "backbone"  # the included one; in `freeze`: everything but the head
FILE, PIN = "file:", "#sha256="
NO_RUNS = (SCRATCH, BACKBONE, *FILTER_BANKS)  # names in `init`; others are runs or files
SUFFIXES = (".safetensors", ".pth", ".pt")
WRAPPERS = ("module.", "_orig_mod.")  # before the names of tensors: DataParallel, torch.compile
STATES = ("state_dict", "model_state_dict", "model")  # where checkpoints have their state_dict
HEADS = ("classifier", "fc", "head")  # torchvision's, timm's and our names of heads


def load_pretrained(model: nn.Module, classes: tuple[str, ...], init: str) -> dict[str, Any]:
    """Load initial weights into `model`, in place, and return the `init` of a run's env.json.

    The head of a run is loaded only if it has the same `classes`.
    """
    name, seconds, examples, with_head = init.partition(PIN)[0], None, None, False
    if init == BACKBONE:
        loaded = included_weights()
    elif init in FILTER_BANKS:
        loaded, seconds, examples, with_head = filter_bank(model, init), 0.0, 0, True
    elif init.startswith(FILE):
        loaded = read_weights(init)
    else:
        run = Run(init)
        if run.result is None:
            raise RunError(f"{init} is not finished. Resume it with: siglum train --resume {init}")
        loaded, with_head = run.model().state_dict(), run.classes == classes
        before = run.env.get("init") or {"seconds": 0.0, "examples": 0}
        if before["seconds"] is not None:
            last = run.history[-1]
            seconds = last.seconds + before["seconds"]
            examples = last.examples + before["examples"]
    ours = model.state_dict()
    head = _head(ours)
    shapes = {k: t.shape for k, t in ours.items() if with_head}  # of which a head must be
    drop = [k for k in loaded if k.startswith(head) or (k not in ours and k.split(".")[0] in HEADS)]
    tensors = {k: t for k, t in loaded.items() if k not in drop or t.shape == shapes.get(k)}
    optional = "" if init in FILTER_BANKS else head
    random = {k: t for k, t in ours.items() if k not in tensors and k.startswith(optional)}
    remedy = "Use the model, size, channels and options that they belong to."
    load_weights(model, {**random, **tensors}, f"The weights of {name} do not fit", remedy)
    return {
        "run": name,
        "sha256": _digest(tensors),
        "seconds": seconds,  # of training before, with the parent's own parents; None if unknown
        "examples": examples,  # images shown before, likewise
        "adopted": list(tensors),
        "reset": list(random),  # tensors that remain random, such as a new head
        "adopted_numbers": sum(tensor.numel() for tensor in tensors.values()),
        "reset_numbers": sum(tensor.numel() for tensor in random.values()),
    }


def parent(run: Run) -> Run | None:
    """Return the run whose weights `run` started from, also where both were moved, or None."""
    init, name = run.env["init"] or {}, run.config.init
    for path in (Path(name), run.path.parent / Path(name).name):
        if (path / CONFIG).is_file() and path.resolve() != run.path.resolve():
            with suppress(SiglumError, KeyError):  # it is another run of this name
                state = Run(path).model().state_dict()
                if _digest({name: state[name] for name in init["adopted"]}) == init["sha256"]:
                    return Run(path)
    return None


def _head(tensors: Mapping[str, Tensor]) -> str:
    """Return how the tensors of a head begin: those of the last layer, or of its part in HEADS."""
    last = next((name for name in reversed([*tensors]) if tensors[name].ndim > 1), "")
    part = last.split(".")[0]
    return f"{part if part in HEADS else last.rpartition('.')[0]}."


def _digest(tensors: dict[str, Tensor]) -> str:
    return hashlib.sha256(save(on_cpu(tensors))).hexdigest()


def freeze(model: nn.Module, parts: tuple[str, ...]) -> None:
    """Exclude parts from training: "backbone", or names of modules or parameters."""
    head = _head(dict(model.named_parameters()))
    for part in parts:
        parameters = [
            parameter
            for name, parameter in model.named_parameters()
            if (part == BACKBONE and not name.startswith(head)) or f"{name}.".startswith(f"{part}.")
        ]
        if not parameters:
            names = [BACKBONE, *(name for name, _ in model.named_children())]
            named = f"{', '.join(names)}, and parts of these.{closest_match(part, names)}"
            raise ConfigError(f"No part {part!r} to freeze. Parts: {named}")
        for parameter in parameters:
            parameter.requires_grad_(False)
    if not count_parameters(model):
        remedy = "" if parts else " Keep its layers as attributes, or in an nn.ModuleList."
        problem = f"freeze {', '.join(parts)} leaves" if parts else "The network has"
        raise ConfigError(f"{problem} nothing to train.{remedy}")


def describe(run: Run) -> str:
    """Describe the start of a finished run: weights, head, frozen parts, trained parameters."""
    if run.config.model in FITTED:
        return "none: fitted in one call"
    init, parts, result = run.env["init"], run.config.freeze, run.result or {}
    words = ["random weights"]
    if init is not None and init["run"] in FILTER_BANKS:
        words = [f"filters of {init['run']}: {init['adopted_numbers']:,} numbers; the rest random"]
    elif init is not None:
        words = [f"{init['adopted_numbers']:,} numbers of {init['run']}"]
        new = init["reset_numbers"]
        words.append(f"a new head of {new:,}" if new else "with its head")
        known = sum(filter(None, init.get("trained", {}).values()))
        words += [f"trained on {known:,} of the images that measure this run"] if known else []
    words += [f"frozen: {', '.join(parts)}"] if parts else []
    numbers = f"{result['trained']:,} of {result['parameters']:,} parameters trained"
    return "; ".join([*words, numbers])


def read_weights(init: str) -> dict[str, Tensor]:
    """Return the tensors of the file that `init` names, on the CPU."""
    name, _, digest = init.removeprefix(FILE).partition(PIN)
    paths = [Path(name).expanduser(), (data_dir() or Path()) / name]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        places = "neither here nor under SIGLUM_DATA"
        raise ConfigError(f"No such file: {name}, {places}. For a run, leave out {FILE}")
    if digest and (actual := sha256(path)) != digest:
        raise DataError(f"{path} has the SHA-256 {actual}, not {digest}. Use the right file.")
    return read_tensors(path, "init")


def read_tensors(path: Path, setting: str = "weights") -> dict[str, Tensor]:
    """Return the tensors of a file, or of the state_dict in a checkpoint, on the CPU."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{setting} must name a {' or '.join(SUFFIXES)} file, got {path}.")
    try:
        tensors = load_file(path) if path.suffix == SUFFIXES[0] else _read_pth(path)
    except (SafetensorError, OSError) as error:
        problem = f"{path} is damaged: {first_line(error)}"
        raise DataError(f"{problem}. Copy or download it again.") from None
    while tensors and all(name.startswith(WRAPPERS) for name in tensors):
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    return tensors


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns about old formats
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
        inner = [loaded[key] for key in STATES if isinstance(loaded.get(key), Mapping)]
        tensors = dict(inner[0] if inner else loaded)
        if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in tensors.items()):
            raise ValueError("it holds other values")
        return tensors
    except Exception as error:  # a damaged or hostile file may raise anything in the reader
        called = re.search(r"GLOBAL (\S+)", str(error))  # torch suggests to run it; we never do
        reason = f"it calls {called[1]}" if called else "PyTorch cannot read it as a state_dict"
        remedy = "No code in it was run. Save a state_dict, or safetensors."
        raise DataError(f"{path} is not a file of tensors only: {reason}. {remedy}") from None
