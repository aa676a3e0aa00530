"""Pictures a second through the normaliser, and seconds for a photo of 12 megapixels.

    OMP_NUM_THREADS=1 python -m benchmarks.normalise

Run it on a quiet machine: a second process slows it by half and more. Pictures are drawn by code:
a stroke on even paper, and on grained paper in uneven light. The photo is timed from its pixels,
and from its JPEG file with the decoding.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from siglum.images import decode
from siglum.images.normalise import WORKING, normalise

POINTS = [(0.3, 0.2), (0.6, 0.25), (0.4, 0.5), (0.65, 0.7), (0.3, 0.8)]


def drawing(height: int, width: int) -> NDArray[np.uint8]:
    """Draw one light stroke on even dark paper, as data sets have them: uint8 (H, W)."""
    image = Image.new("L", (width, height))
    points = [(width * x, height * y) for x, y in POINTS]
    ImageDraw.Draw(image).line(points, fill=255, width=max(1, min(height, width) // 30))
    return np.asarray(image)


def photo(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Draw one stroke on paper whose light falls to the right: uint8 (C, H, W)."""
    light = np.linspace(230, 140, width) * (1 - 0.7 * (drawing(height, width) / 255))
    noise = np.random.RandomState(0).normal(0, 3, (height, width))
    planes = [np.clip(light * shade + noise, 0, 255) for shade in (1, 0.97, 0.9)[:channels]]
    return np.stack(planes).astype(np.uint8)


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the median time of one call."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    for side in (28, 256):
        even = drawing(side, side)
        took = seconds(lambda even=even: normalise(even, 28), rounds)  # type: ignore[misc]
        print(f"{side} x {side}, even paper: {1 / took:,.0f} pictures a second")
    for height, width, channels in ((28, 28, 1), (256, 256, 1), (256, 256, 3)):
        picture = photo(height, width, channels)
        took = seconds(lambda picture=picture: normalise(picture, 28), rounds)  # type: ignore[misc]
        print(f"{height} x {width}, {channels} channels: {1 / took:,.0f} pictures a second")
    large = photo(3000, 4000, 3)
    few = max(1, rounds // 20)
    print(f"12 megapixels, decoded: {seconds(lambda: normalise(large, 28), few):.3f} s")
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(large.transpose(1, 2, 0))).save(file, "JPEG", quality=90)
    raw = file.getvalue()

    def read() -> object:
        return normalise(decode.decode(raw, None, 2 * WORKING), 28)

    print(f"12 megapixels, from a JPEG of {len(raw) / 2**20:.1f} MB: {seconds(read, few):.3f} s")


if __name__ == "__main__":
    main()
