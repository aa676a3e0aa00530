"""Siglum: teach a computer your signs."""

import os

# onnxruntime reports usage to its maker unless this is set before anything imports it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
