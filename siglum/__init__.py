"""Siglum: teach a computer your signs."""

__version__ = "0.1.0"
