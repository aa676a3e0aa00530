"""The benchmarks are tried with the small backbone of the recogniser's tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "recogniser"))
