"""People's drawings to train on, too: letters of Omniglot and digits of MNIST.

A figure is never measured on what was trained on: leave out the alphabets of the test.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from siglum.config import Preprocess
from siglum.images import splits
from siglum.images.cache import rebuild
from siglum.images.imageset import ImageSet
from siglum.images.sources import load

OMNIGLOT = tuple(f"archive:omniglot/images_background_small{number}.zip" for number in (1, 2))
WRITER = r"_(\d+)\.png$"
MNIST = "idx:MNIST/raw"


def load_omniglot(alphabets: Collection[str], preprocess: Preprocess) -> Iterator[ImageSet]:
    """Yield the letters of some alphabets, upright and in three quarter turns as other classes."""
    before: set[str] = set()
    for source in OMNIGLOT:
        images = load(source, preprocess=preprocess, writers=WRITER)
        names = {name for name in images.classes if name.partition("/")[0] in alphabets}
        images = images.select_classes(sorted(names - before))  # both have two of the alphabets
        before |= names
        for turns in range(4):
            suffix = f" turned {90 * turns} degrees" if turns else ""
            classes = tuple(name + suffix for name in images.classes)
            turned = np.rot90(images.images, turns, axes=(2, 3))
            yield replace(images, store=turned, rows=np.arange(len(images)), classes=classes)


def load_mnist(count: int, seed: int, preprocess: Preprocess) -> ImageSet:
    """Return `count` drawings of each digit, of MNIST's training part."""
    digits = load(MNIST)
    rows = splits.per_class(digits.labels, count, seed, digits.classes)
    return rebuild(digits.subset(rows), preprocess)
