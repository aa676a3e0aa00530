"""Arrays in a bundle: an .npz that numpy reads, written in one way and read without numpy's loader.

Nothing here can meet a pickle: the header of each array must be the one that numpy writes, its
dtype one that is expected, and the bytes behind it as many as the shape says.
"""

import io
import math
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError
from siglum.recogniser import container

# Source: numpy.lib.format, "Format Version 1.0"; of the dtypes only plain numbers.
HEAD = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<|][biuf]\d)', 'fortran_order': False, "
    rb"'shape': \(((?:\d{1,12}, ?)*\d{0,12})\), \} *\n",
    re.DOTALL,
)


class Wanted(NamedTuple):
    """What an array must be."""

    dtypes: tuple[str, ...]  # such as "<f4"
    ndim: int


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return an .npz of arrays, stored as they are."""
    return container.pack({f"{name}.npy": _encoded(array) for name, array in arrays.items()})


def unpack(
    raw: bytes, wanted: Mapping[str, Wanted], name: str, optional: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Return the arrays of what `pack` made; they are read-only views of `raw`.

    Raises:
        DataError: if names, dtypes, dimensions or sizes are not as wanted, or a number is not
            finite.
    """
    limits = {f"{key}.npy": len(raw) for key in wanted}
    members = container.unpack(raw, limits, name, [f"{key}.npy" for key in optional])
    return {
        member.removesuffix(".npy"): _decoded(
            inner, wanted[member.removesuffix(".npy")], f"{member} in {name}"
        )
        for member, inner in members.items()
    }


def _encoded(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    np.lib.format.write_array(file, little, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def _decoded(raw: bytes, wanted: Wanted, name: str) -> NDArray[Any]:
    head = HEAD.match(raw)
    if not head or head.end() != 10 + int.from_bytes(head[1], "little"):
        raise DataError(f"{name} must begin as numpy writes arrays, got {raw[:60]!r}.")
    kind = head[2].decode()
    shape = tuple(int(side) for side in head[3].replace(b",", b" ").split())
    if kind not in wanted.dtypes or len(shape) != wanted.ndim:
        raise DataError(
            f"{name} must be {' or '.join(wanted.dtypes)} of {wanted.ndim} dimensions, got "
            f"{kind} of shape {shape}."
        )
    dtype = np.dtype(kind)
    held = len(raw) - head.end()
    if math.prod(shape) * dtype.itemsize != held:
        raise DataError(f"{name} must have the bytes of shape {shape}, got {held:,} of them.")
    array = np.frombuffer(raw, dtype, offset=head.end()).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{name} must hold finite numbers, got NaN or infinity.")
    return array
