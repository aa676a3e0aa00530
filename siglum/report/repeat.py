"""Until the comparison pages use `train_command`."""

from siglum.report.sections import train_command as command

__all__ = ["command"]
