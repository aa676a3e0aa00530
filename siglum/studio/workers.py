"""Processes that read images, so that neither the event loop nor a fit delays an answer."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import NamedTuple, TypeVar, TypeVarTuple

import numpy as np

from siglum.images import decode, strokes
from siglum.images.cache import Content
from siglum.images.components import Box
from siglum.images.ink import InkReport, read_page
from siglum.recogniser.predict import Recogniser, default_backbone, preprocess_images
from siglum.studio.snapshot import MAX_PIXELS, Ink, Json, extract, to_pixels
from siglum.studio.store import StudioError

NUM_WORKERS = min(2, os.cpu_count() or 1)  # of a Studio; they serve a class of 50
MAX_SIGNS = 500  # on a page
ATTEMPTS = 2  # at an image whose process dies

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_recogniser: Recogniser  # of a worker process


class Workers:
    """Processes that each hold a recogniser. They start when needed, and a dead one is replaced."""

    def __init__(self, recogniser: Recogniser, count: int = NUM_WORKERS) -> None:
        self.recogniser, self.count = recogniser, count
        self._pool = self._create_pool()

    def _create_pool(self) -> ProcessPoolExecutor:
        # Forking a process that has threads can block the child for ever.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.count, context, _initialise, (self.recogniser,))

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)

    async def run(self, function: Callable[[Recogniser, *Ts], T], *args: *Ts) -> T:
        """Call a function of a module in a process, with the recogniser first."""
        for _ in range(ATTEMPTS):
            pool = self._pool
            try:
                return await asyncio.wrap_future(pool.submit(_call, function, *args))
            except BrokenProcessPool:  # all that it was reading is lost
                if self._pool is pool:
                    self._pool = self._create_pool()
        raise StudioError(
            503, "The process that reads images ended. Try again, or a smaller image."
        )


def _initialise(recogniser: Recogniser) -> None:
    global _recogniser
    _recogniser = recogniser
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # a parent that is killed cannot end it


def _call(function: Callable[..., T], *args: object) -> T:
    return function(_recogniser, *args)


def ping(recogniser: Recogniser) -> int:
    """Return the number of classes."""
    return len(recogniser.classes)


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


class Photo(NamedTuple):
    """The signs of a photo, with box, row and warnings."""

    height: int
    width: int
    sideways: bool
    signs: list[tuple[Box, int, Ink, list[str]]]


def read_photo(backbone: Recogniser, content: bytes) -> Photo:
    """Read an image of one sign, or of a page of several."""
    image = to_pixels(content)
    (height, width), (ink, report) = image.shape[1:], extract(backbone, image)
    if report.characters <= 1:
        signs = [] if report.empty else [(report.box, 0, ink, report.warnings())]
        return Photo(height, width, False, signs)
    page = read_page(image, backbone.preprocess, MAX_SIGNS)
    photo = Photo(height, width, page.sideways, [])
    for number, row in enumerate(page.rows):
        features = backbone.features(np.array([sign.ink for sign in row]))
        for sign, one in zip(row, features, strict=True):
            ink = Ink(sign.ink, np.full(3, np.nan, np.float32), one)
            photo.signs.append((sign.box, number, ink, []))
    return photo


def recognise(recogniser: Recogniser, content: Content, file: str | None, output: str) -> Json:
    """Recognise one image or drawing; return the prediction, or why it cannot be read."""
    image = strokes.rasterise(content) if isinstance(content, strokes.Drawing) else content
    unreadable: list[tuple[str, str]] = []
    inputs = preprocess_images([image], recogniser.preprocess, unreadable, max_pixels=MAX_PIXELS)
    if unreadable:
        return {"file": file, "detail": f"Cannot read this image: {unreadable[0][1]}."}
    (prediction,) = recogniser.predict_inputs(inputs)
    return replace(prediction, file=file, output=prediction.output_as(output)).to_dict()
