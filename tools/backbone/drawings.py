"""People's drawings to train on, too: letters of Omniglot and digits of MNIST.

A figure is never measured on what was trained on: `benchmarks.fewshot` leaves these alphabets out.
"""

from collections.abc import Collection

import numpy as np

from siglum.config import Preprocess
from siglum.images import splits
from siglum.images.cache import rebuild
from siglum.images.imageset import ImageSet
from siglum.images.sources import load
from tools.backbone.sources import letter_name

OMNIGLOT = tuple(f"archive:omniglot/images_background_small{number}.zip" for number in (1, 2))
WRITER = r"_(\d+)\.png$"  # number of the drawer in a file's name
MNIST = "idx:MNIST/raw"


def load_drawings(
    alphabets: Collection[str], digits: int, seed: int, preprocess: Preprocess
) -> list[ImageSet]:
    """Load letters of Omniglot, and so many drawings of each digit of MNIST's training part.

    Letters that are characters of ours join their classes. Others are upright, and in three quarter
    turns as other classes.
    """
    sets: list[ImageSet] = []
    before: set[str] = set()
    for source in OMNIGLOT if alphabets else ():
        images = load(source, preprocess=preprocess, writers=WRITER)
        names = {name for name in images.classes if name.partition("/")[0] in alphabets}
        images = images.select_classes(sorted(names - before))  # both have two of the alphabets
        before |= names
        letters = {name: letter_name(*name.split("/")) for name in images.classes}
        images = images.rename(letters)
        sets.append(images)
        images = images.select_classes([name for name in images.classes if "/" in name])
        for turns in range(1, 4) if len(images) else ():
            turned = np.rot90(images.images, turns, axes=(2, 3))
            classes = [f"{name} turned {90 * turns} degrees" for name in images.classes]
            sets.append(ImageSet.from_arrays(turned, images.labels, classes, source))
    if digits:
        whole = load(MNIST)
        rows = splits.per_class(whole.labels, digits, seed, whole.classes)
        sets.append(rebuild(whole.subset(rows), preprocess))
    return sets


def describe(alphabets: Collection[str], digits: int) -> dict[str, str]:
    """Return whose drawings these are, by data set and licence."""
    described = {"Omniglot (MIT)": ", ".join(alphabets)}
    described["MNIST (CC BY-SA 3.0)"] = f"{digits:,} of each digit, training part" if digits else ""
    return {name: text for name, text in described.items() if text}
