"""Arrays come back as they were, and nothing but arrays."""

import io
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from siglum.errors import DataError
from siglum.recogniser import arrays, container
from siglum.recogniser.arrays import Wanted

WANTED = {"x": Wanted(("<f4",), 2)}


def refusal(npy: bytes) -> str:
    with pytest.raises(DataError) as error:
        arrays.unpack(container.pack({"x.npy": npy}), WANTED, "g.npz")
    return str(error.value)


def npy(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)  # type: ignore[arg-type]
    return file.getvalue()


@given(
    arrays_of.arrays(
        st.sampled_from(["|u1", "<i8", "<f4", "<f2", "|b1"]),
        arrays_of.array_shapes(min_dims=0, min_side=0),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_what_is_packed_is_unpacked_and_numpy_agrees(array: np.ndarray) -> None:
    raw = arrays.pack({"x": array})

    found = arrays.unpack(raw, {"x": Wanted((array.dtype.str,), array.ndim)}, "g.npz")["x"]

    assert found.dtype == array.dtype and np.array_equal(found, array)
    with np.load(io.BytesIO(raw), allow_pickle=False) as loaded:
        assert np.array_equal(loaded["x"], array)


def test_columns_and_other_bytes_orders_come_back_as_rows() -> None:
    array = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))

    found = arrays.unpack(arrays.pack({"x": array}), WANTED, "g.npz")["x"]

    assert found.dtype.str == "<f4" and np.array_equal(found, array)


def test_objects_are_refused_unopened() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('it ran')",))

    raw = npy(np.array([[Bomb()]]), allow_pickle=True)

    assert refusal(raw).startswith("x.npy in g.npz must begin as numpy writes arrays, got ")
    assert refusal(pickle.dumps(Bomb())).startswith("x.npy in g.npz must begin as numpy writes")


def test_another_dtype_or_number_of_axes_is_refused() -> None:
    assert refusal(npy(np.zeros((2, 3), "<f8"))) == (
        "x.npy in g.npz must be <f4 of 2 dimensions, got <f8 of shape (2, 3)."
    )
    assert refusal(npy(np.zeros(3, "<f4"))) == (
        "x.npy in g.npz must be <f4 of 2 dimensions, got <f4 of shape (3,)."
    )


def test_a_shape_that_the_bytes_do_not_have_is_refused_before_it_is_made() -> None:
    whole = npy(np.zeros((10, 3), "<f4"))
    huge = whole.replace(b"(10, 3), }" + b" " * 11, b"(10, 999999999999), }")
    assert len(huge) == len(whole)

    assert refusal(whole[:-1]) == (
        "x.npy in g.npz must have the bytes of shape (10, 3), got 119 of them."
    )
    assert refusal(huge) == (
        "x.npy in g.npz must have the bytes of shape (10, 999999999999), got 120 of them."
    )


def test_a_dtype_that_does_not_exist_is_refused() -> None:
    raw = npy(np.zeros((1, 1), "<f4")).replace(b"'<f4'", b"'<f3'")

    assert refusal(raw) == "x.npy in g.npz must be <f4 of 2 dimensions, got <f3 of shape (1, 1)."


def test_what_is_not_finite_is_refused() -> None:
    for value in (np.nan, np.inf):
        assert refusal(npy(np.full((1, 1), value, "<f4"))) == (
            "x.npy in g.npz must hold finite numbers, got NaN or infinity."
        )


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(raw: bytes) -> None:
    for start in (b"", npy(np.zeros((1, 1), "<f4"))[:60]):
        assert refusal(start + raw).startswith("x.npy in g.npz must ")
