"""Siglum: teach a computer your signs."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siglum.api import teach
    from siglum.errors import SiglumError
    from siglum.recogniser.find import Match, find
    from siglum.recogniser.predict import Prediction, Recogniser, load
    from siglum.sklearn import SignClassifier
    from siglum.studio.notebook import Pad

__version__ = "0.1.0"
__all__ = ["Match", "Pad", "Prediction", "Recogniser", "SiglumError", "SignClassifier"]
__all__ += ["__version__", "find", "load", "teach"]

# onnxruntime reports usage to its maker unless this is set before anything imports it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_MODULES = {
    "Match": "siglum.recogniser.find",
    "Pad": "siglum.studio.notebook",
    "Prediction": "siglum.recogniser.predict",
    "Recogniser": "siglum.recogniser.predict",
    "SiglumError": "siglum.errors",
    "SignClassifier": "siglum.sklearn",
    "find": "siglum.recogniser.find",
    "load": "siglum.recogniser.predict",
    "teach": "siglum.api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'siglum' has no attribute {name!r}")
    from importlib import import_module

    from siglum.errors import require_extra

    with require_extra(name, "notebook" if name == "Pad" else "lab"):
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
