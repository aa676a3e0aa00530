"""Processes that read images, so that neither the event loop nor a fit delays an answer."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from queue import LifoQueue
from typing import Any, TypeVar

import numpy as np

from siglum.images import decode
from siglum.images.cache import Content
from siglum.images.ink import InkReport, read_page
from siglum.recogniser.bulk import end_with_parent
from siglum.recogniser.predict import ImageLike, Recogniser, default_backbone, preprocess_images
from siglum.studio.snapshot import MAX_PIXELS, Ink, Json, extract, to_pixels
from siglum.studio.store import StudioError

NUM_WORKERS = min(4, os.cpu_count() or 1)  # of 100 MB each; two serve a class of 50
MAX_SIGNS = 500  # on a page
ATTEMPTS = 2  # at an image whose process dies

T = TypeVar("T")
Sign = tuple[Json, Ink, list[str]]  # box and row in a photo, ink, warnings
_recogniser: Recogniser  # of a worker process


class Workers:
    """Processes that each hold a recogniser. They start when needed, and dead ones are replaced."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser
        self._free = LifoQueue[ProcessPoolExecutor]()  # of one process each: deaths stay apart
        for _ in range(NUM_WORKERS):
            self._free.put(pool := self._start())
        pool.submit(_call, ping)  # starts the process of the first request

    def _start(self) -> ProcessPoolExecutor:
        # Forking a process that has threads can block the child for ever.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, _initialise, (self.recogniser,))

    def close(self) -> None:
        """End the processes."""
        for _ in range(NUM_WORKERS):
            self._free.get().shutdown()

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function of a module in a process, with the recogniser first, and wait for it."""
        for _ in range(ATTEMPTS):
            pool = self._free.get()
            try:
                return pool.submit(_call, function, *args).result()
            except BrokenProcessPool:
                pool = self._start()
            finally:
                self._free.put(pool)
        raise StudioError(503, "The process reading images ended. Try again, or a smaller image.")


def _initialise(recogniser: Recogniser) -> None:
    global _recogniser
    _recogniser = recogniser
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    end_with_parent()


def _call(function: Callable[..., T], *args: Any) -> T:
    return function(_recogniser, *args)


def ping(recogniser: Recogniser) -> int:
    """Return the number of classes."""
    return len(recogniser.classes)


def recognise(recogniser: Recogniser, image: ImageLike, number: int = 1) -> Json:
    """Recognise an image, or strokes; DataError with its number if it cannot be read."""
    inputs = preprocess_images([image], recogniser.preprocess, None, number, MAX_PIXELS)
    return recogniser.predict_inputs(inputs)[0].to_dict()


def read_sign(backbone: Recogniser, content: Content) -> tuple[Ink, InkReport]:
    """Read an image or strokes of one sign."""
    return extract(backbone, to_pixels(content))


def read_to_save(backbone: Recogniser, content: Content) -> tuple[Ink, InkReport, bytes]:
    """Read one sign, and return its image as PNG, too."""
    image = to_pixels(content)
    return *extract(backbone, image), decode.to_png(image)


def read_to_find(_: Recogniser, content: Content) -> tuple[Ink, InkReport]:
    """Read one sign with the backbone whose characters `find` ranks."""
    return read_sign(default_backbone(), content)


def read_photo(backbone: Recogniser, content: bytes) -> tuple[Json, list[Sign]]:
    """Read an image of one sign, or of a page of several; return its facts, and the signs."""
    image = to_pixels(content)
    ink, report = extract(backbone, image)
    photo: Json = {"height": image.shape[1], "width": image.shape[2], "sideways": False}
    if report.characters <= 1:
        sign = {"box": report.box, "row": 0}, ink, report.warnings()
        return photo, [] if report.empty else [sign]
    page = read_page(image, backbone.preprocess, MAX_SIGNS)
    signs: list[Sign] = []
    for row, line in enumerate(page.rows):
        features = backbone.features(np.array([sign.ink for sign in line]))
        for one, vector in zip(line, features, strict=True):
            ink = Ink(one.ink, np.full(3, np.nan, np.float32), vector)
            signs.append(({"box": one.box, "row": row}, ink, []))
    return photo | {"sideways": page.sideways}, signs
