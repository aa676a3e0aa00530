"""How a benchmark reports: what it ran on, and medians."""

import platform
import statistics
from importlib.metadata import version

from siglum.lab.device import Machine, processor


def about(machine: Machine) -> str:
    """Return one line on machine and versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("siglum", "torch", "numpy"))
    return (
        f"{processor()}, {machine.threads} threads, {machine.precision}; "
        f"Python {platform.python_version()}, {packages}"
    )


def spread(values: list[float], digits: int = 1) -> str:
    """Return "median (least to most)"."""
    median = statistics.median(values)
    return f"{median:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
