"""Who made each picture, where anything tells it."""

import re

from siglum.images.imageset import ImageSet

USUAL = re.compile(r"(?:^|/)(w\d+)_[^/]*$")  # w07_02.png: the second of writer w07


def writers_of(images: ImageSet) -> tuple[str, ...] | None:
    """Return each picture's writer: as the set knows it, or by file names such as `w07_02.png`.

    None where a picture's writer is not known.
    """
    if images.writers is not None or images.files is None:
        return images.writers
    found = [USUAL.search(name) for name in images.files]
    return tuple(match[1] for match in found if match) if all(found) else None
