"""One training on several processes, which torchrun starts: how they connect and agree."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from siglum.errors import SiglumError

TIMEOUT = timedelta(hours=1)  # that a process waits for another, which may validate


def rank() -> int:
    """Return the number of this process; only process 0 writes and reports."""
    return int(os.environ["RANK"]) if dist.is_torchelastic_launched() else 0


def num_processes() -> int:
    """Return the number of processes of this training."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


@contextmanager
def connect(device: str) -> Iterator[None]:
    """Connect the processes of a training; none passes before all have come."""
    if num_processes() == 1:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if rank() > 0:
        warnings.simplefilter("ignore")  # process 0 shows the same
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield
    except RuntimeError as error:
        if "gloo" not in str(error) and not isinstance(error, dist.DistBackendError):
            raise
        reason = "stopped, because another one ended. Continue with: siglum train --resume RUN"
        raise SiglumError(f"Process {rank()} {reason}") from error
    finally:
        dist.destroy_process_group()


def total(values: Sequence[float], device: str) -> list[float]:
    """Return the sums of numbers over all processes, each of which must call this."""
    if num_processes() == 1:
        return [*values]
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return list(map(float, sums))
