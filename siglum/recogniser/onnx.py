"""A network that onnxruntime computes, and the arithmetic before it.

Shapes: N pictures, B in a batch, P planes, S the side of the square, D outputs.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.recogniser import onnx_check

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BATCH_VALUES = 250_000  # of the pictures in a batch: the widest maps have some 30 times as many


class Network:
    """An ONNX network in memory: bytes (N, P, S, S) to float32 (N, D)."""

    def __init__(
        self, raw: bytes, preprocess: Preprocess, threads: int = 1, name: str = "model.onnx"
    ) -> None:
        """Check an ONNX file and make it ready.

        Args:
            threads: of the CPU; 0 for one a core.
            name: of the file, for messages.

        Raises:
            DataError: if the file is not allowed, or onnxruntime cannot compute it, or it does not
                take pictures as `preprocess` makes them.
        """
        self.contents = onnx_check.check(raw, name)
        self.preprocess = preprocess
        self._name = name
        self._session = _session(raw, threads, name)
        self._input = _only_input(self._session, preprocess, name)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the network gives for bytes (N, P, S, S): float32 (N, D), N at least 1.

        A few pictures at a time, so that memory does not grow with their number.
        """
        size = max(1, BATCH_VALUES // math.prod(images.shape[1:]))
        parts = [
            self._batch(standardise(images[start : start + size], self.preprocess))
            for start in range(0, len(images), size)
        ]
        return np.concatenate(parts)

    def _batch(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (outputs,) = self._session.run(None, {self._input: batch})
        except Exception as error:  # onnxruntime has a class an error code, below Exception only
            raise DataError(
                f"{self._name} must compute {len(batch)} pictures, got {_said(error)}."
            ) from None
        if outputs.ndim != 2 or len(outputs) != len(batch) or outputs.dtype != np.float32:
            raise DataError(
                f"{self._name} must give float32 (N, D) for {len(batch)} pictures, got "
                f"{outputs.dtype} {outputs.shape}."
            )
        return outputs  # type: ignore[no-any-return]


def standardise(images: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """Turn bytes (B, P, S, S) into what the network sees: float32 (B, P, S, S)."""
    subtracted, divisor = (
        np.array(values, np.float32).reshape(-1, 1, 1) for values in preprocess.scaling
    )
    unit = images.astype(np.float32)
    unit /= 255
    unit -= subtracted
    unit /= divisor
    return unit


def _session(raw: bytes, threads: int, name: str) -> "InferenceSession":
    import onnxruntime  # late: it takes a tenth of a second, and most commands do without

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised, and said once
    options.enable_cpu_mem_arena = False  # it keeps what the largest batch needed
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataError(
            f"{name} must be a network that onnxruntime {onnxruntime.__version__} can compute, got "
            f"{_said(error)}."
        ) from None


def _only_input(session: "InferenceSession", preprocess: Preprocess, name: str) -> str:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    wanted = [preprocess.planes, preprocess.size, preprocess.size]
    found = [(given.type, given.shape) for given in inputs]
    free = len(found) == 1 and found[0][1] and not isinstance(found[0][1][0], int)
    if not free or found[0][0] != "tensor(float)" or found[0][1][1:] != wanted:
        raise DataError(
            f"{name} must take float32 pictures {['N', *wanted]} and nothing else, got {found}."
        )
    if len(outputs) != 1 or outputs[0].type != "tensor(float)" or len(outputs[0].shape) != 2:
        given = [(output.type, output.shape) for output in outputs]
        raise DataError(f"{name} must give float32 [N, D] and nothing else, got {given}.")
    return str(inputs[0].name)


def _said(error: Exception) -> str:
    """Return the first line of what onnxruntime says, without its number."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said: str = lines[0].rpartition("] : ")[2]
    return said[:300].rstrip(".")
