"""Device, precision, memory format and threads: chosen from the hardware, recorded in every run.

The CUDA and MPS branches are kept simple; this project's tests run on the CPU.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from siglum.errors import ConfigError, choose
from siglum.lab.distributed import num_processes

CORES = torch.get_num_threads()  # that this process may use; before anything changes it


@dataclass(frozen=True)
class Device:
    """Where and how exactly a network computes."""

    device: str  # cpu, cuda or mps
    precision: str  # of convolutions and matrix products; weights are always float32
    channels_last: bool
    threads: int  # of the CPU
    processes: int = 1  # that train together, each with these threads

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of batches and kernels."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def to(self, module: nn.Module) -> nn.Module:
        """Move a network to the device."""
        if getattr(module, "contiguous_only", False):
            return module.to(self.device)
        return module.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def to_batch(self, images: Tensor) -> Tensor:
        """Move a batch to the device."""
        # Not `contiguous`: with one channel both formats are the same memory and torch keeps the
        # strides it finds, after which the first convolution returns slow channels-first maps.
        batch = torch.empty_like(images, device=self.device, memory_format=self.memory_format)
        return batch.copy_(images)

    def seed(self, seed: int) -> None:
        """Seed the generators that a step draws from."""
        # `torch.manual_seed` would record every call for devices that are not initialised.
        torch.default_generator.manual_seed(seed)
        if self.device == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device == "mps":
            torch.mps.manual_seed(seed)

    def autocast(self) -> torch.autocast:
        """Return a context in which the network computes in the chosen precision."""
        return torch.autocast(self.device, torch.bfloat16, self.precision == "bfloat16")


def choose_device(device: str = "auto", precision: str = "auto", threads: int = 0) -> Device:
    """Return the device to use, and set the number of CPU threads of this process.

    "auto" chooses cuda, mps or cpu, and bfloat16 where the processor supports it. 0 `threads` are
    one per core.
    """
    if threads < 0:
        raise ConfigError(f"threads must be at least 0, got {threads}. 0 is one per core.")
    gpus = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next((name for name, present in gpus.items() if present), "cpu")
    if not choose({**gpus, "cpu": True}, device, "device"):
        raise ConfigError(f"This machine has no device {device!r}. Use --device cpu.")
    if precision == "auto":
        flags = {*cpu_info("flags").split(), *cpu_info("Features").split()}
        fast = device == "cuda" and torch.cuda.is_bf16_supported()
        if device == "cpu":  # AVX-512 BF16, AMX, Arm BF16
            fast = not flags.isdisjoint(("avx512_bf16", "amx_bf16", "bf16"))
        precision = "bfloat16" if fast else "float32"
    choose(dict.fromkeys(("float32", "bfloat16")), precision, "precision")
    torch.set_num_threads(threads or CORES)
    return Device(device, precision, device != "mps", torch.get_num_threads(), num_processes())


def cpu_info(key: str) -> str:
    """Return a line of /proc/cpuinfo, or "" where there is none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
