"""What the machine at hand does best: device, precision, memory format, threads.

Chosen by what the processor has, recorded with every run, and overridable. The CUDA and MPS
branches are kept plain; they have not been run by this project's own tests.
"""

import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from siglum.errors import ConfigError, choose

PRECISIONS = {"float32": False, "bfloat16": True}  # whether products are rounded to 16 bits
CORES = torch.get_num_threads()  # torch's own count of them, before anybody sets another
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of glibc's settings, in its malloc.h


@dataclass(frozen=True)
class Machine:
    """Where and how exactly a network computes."""

    device: str  # cpu, cuda or mps
    precision: str  # of convolutions and matrix products; weights are float32 always
    channels_last: bool  # channels innermost in memory
    threads: int  # of the CPU

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of batches and kernels."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, module: nn.Module) -> nn.Module:
        """Move a network to the device, in the chosen layout."""
        return module.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def lay(self, images: Tensor) -> Tensor:
        """Move a batch to the device, in the chosen layout."""
        images = images.to(self.device).contiguous(memory_format=self.memory_format)
        if self.channels_last and images.shape[1] == 1:
            # Of one channel both layouts are the same memory, and torch goes by the strides: with
            # the wrong ones the first convolution took 12 times as long.
            _, _, height, width = images.shape
            return images.as_strided(images.shape, (height * width, 1, width, 1))
        return images

    def seed(self, seed: int) -> None:
        """Seed what this machine draws from.

        Not by `torch.manual_seed`, which notes every call for devices that are not there yet.
        """
        torch.default_generator.manual_seed(seed)
        if self.device == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device == "mps":
            torch.mps.manual_seed(seed)

    def autocast(self) -> torch.autocast:
        """Compute in the chosen precision inside a `with`."""
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=PRECISIONS[self.precision])


def choose_machine(device: str = "auto", precision: str = "auto", threads: int = 0) -> Machine:
    """Return the machine to use, and set this process up for it: threads, and memory on a CPU.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto" (bfloat16 where the processor has it), "float32" or "bfloat16".
        threads: of the CPU; 0 for one a core.

    Raises:
        ConfigError: if a name is unknown, the device is not there, or `threads` is negative.
    """
    if threads < 0:
        raise ConfigError(f"threads must be at least 0, got {threads}. 0 takes one a core.")
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, there in present.items() if there)
    if not choose(present, device, "device"):
        raise ConfigError(f"device must be one that this machine has, got {device!r}. Try cpu.")
    if precision == "auto":
        low = native_bfloat16() if device == "cpu" else device == "cuda" and _cuda_bfloat16()
        precision = "bfloat16" if low else "float32"
    choose(PRECISIONS, precision, "precision")
    torch.set_num_threads(threads or default_threads())
    if device == "cpu":
        keep_memory()
    return Machine(device, precision, device != "mps", torch.get_num_threads())


def keep_memory() -> None:
    """Keep memory that is freed for what comes next, where the C library is glibc.

    A training step frees large arrays and takes as large ones again. By itself glibc hands each
    back to the system, which fills every page of the next with zeros.

    Source: "Malloc tunable parameters", The GNU C Library reference manual.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or none to be had
        glibc = ctypes.CDLL(None)
        glibc.mallopt(MMAP_THRESHOLD, 2**25)  # the most it takes; what is larger still goes back
        glibc.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def default_threads() -> int:
    """Return the number of cores that this process may use."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else CORES
    return max(1, min(mine, CORES))


def native_bfloat16() -> bool:
    """Say whether the CPU multiplies bfloat16 in hardware (x86: AVX-512 BF16, AMX; Arm: BF16)."""
    flags = _cpu_line("flags") + " " + _cpu_line("Features")
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags.split()))


def processor() -> str:
    """Return the CPU's name, as far as the system tells it."""
    return _cpu_line("model name") or "unknown"


def _cpu_line(key: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _cuda_bfloat16() -> bool:
    return bool(torch.cuda.is_bf16_supported())
