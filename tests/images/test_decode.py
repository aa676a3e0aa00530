import re
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from making import encoded, png
from numpy.typing import NDArray
from PIL import Image

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.images.decode import decode, needs_inversion, read, resize

GREY = np.array([[0, 60, 120], [180, 240, 255]], dtype=np.uint8)
COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)


def fails(raw: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        decode(raw)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_come_out_as_they_went_in(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}

    np.testing.assert_array_equal(decode(encoded(Image.fromarray(GREY), kind, **options))[0], GREY)


def test_colours_have_a_plane_each_and_grey_is_their_luma() -> None:
    """ITU-R 601-2: 0.299 red, 0.587 green, 0.114 blue."""
    raw = encoded(Image.fromarray(COLOURS))

    np.testing.assert_array_equal(decode(raw, channels=3), COLOURS.transpose(2, 0, 1))
    assert decode(raw).tolist() == [[[76, 150], [29, 255]]]


def test_sixteen_bits_and_floats_become_eight_bits() -> None:
    deep = np.array([[0, 257, 32_896, 65_535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        assert decode(encoded(Image.fromarray(deep), kind)).tolist() == [[[0, 1, 128, 255]]]
    for top in (1, 255, 65_535):
        floats = np.array([[0, 0.5, 1]], dtype=np.float32) * top
        assert decode(encoded(Image.fromarray(floats), "TIFF")).tolist() == [[[0, 127, 255]]]


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0)])
def test_transparency_is_laid_on_a_contrasting_paper(ink: int, paper: int) -> None:
    pixels = np.full((9, 9, 4), ink, dtype=np.uint8)
    pixels[..., 3] = np.arange(81).reshape(9, 9) * 3
    alpha = pixels[..., 3] / 255

    expected = ink * alpha + paper * (1 - alpha)
    assert np.abs(decode(encoded(Image.fromarray(pixels)))[0] - expected).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("tag", "turns"), [(1, 0), (3, 2), (6, 1), (8, -1)])
def test_pictures_turned_by_exif_stand_upright(kind: str, tag: int, turns: int) -> None:
    """Source: EXIF 2.3, tag 274: which side of what is stored is up, and which is left."""
    exif = Image.Exif()
    exif[274] = tag
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(GREY, turns)))
    options = {"lossless": True} if kind == "WEBP" else {}

    np.testing.assert_array_equal(decode(encoded(stored, kind, exif=exif, **options))[0], GREY)


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that declares a size."""
    raw = bytearray(png(10))
    raw[16:24] = struct.pack(">II", width, height)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    return bytes(raw)


def test_an_image_of_too_many_pixels_or_bytes_is_refused_before_it_is_decoded() -> None:
    """9,999 px a side is between Pillow's warning and Pillow's error."""
    for side in (60_000, 9_999):
        fails(bomb(side, side), "more than 89,000,000 pixels; crop it or save it smaller")
    fails(bomb(1, 60_000), "longer than 10,000 pixels; crop it")  # padded, it would be gigabytes
    fails(png(10) + bytes(2**26), "larger than 64 MB; save it smaller")
    raw = encoded(Image.new("L", (30, 20)))
    assert decode(raw, max_pixels=600).shape == (1, 20, 30)
    with pytest.raises(DataError, match="^more than 599 pixels; crop it or save it smaller$"):
        decode(raw, max_pixels=599)


def test_a_photo_of_108_megapixels_is_reduced_while_it_is_decoded() -> None:
    image = Image.new("L", (12_000, 9_000), 200)
    image.paste(20, (3000, 3000, 9000, 6000))
    raw = encoded(image, "JPEG")

    assert decode(raw, None, max_side=1000).shape == (1, 1125, 1500)
    pixels = decode(raw)[0]
    assert pixels.shape == (4500, 6000)
    assert pixels[2250, 3000] < 30 and pixels[10, 10] > 190


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "I;16"])
def test_large_images_of_any_mode_are_reduced(mode: str) -> None:
    light = {"1": 1, "P": 0, "RGBA": (255,) * 4, "I;16": 65535}[mode]
    image = Image.new(mode, (9000, 2000), light)

    pixels = decode(encoded(image), max_side=1000)

    assert pixels.shape == (1, 223, 1000) or pixels.shape == (1, 222, 1000)
    assert mode == "P" or pixels.min() >= 250


NOT_AN_IMAGE = "not an image (PNG, JPEG, BMP, GIF, TIFF, WEBP, PPM)"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty file"),
        (b"plain text", NOT_AN_IMAGE),
        (b"\0" * 100, NOT_AN_IMAGE),
        (b"P5 0 5 255\n", "damaged image"),
        (b"\0\0\0\x18ftypheic", "HEIC is not supported; convert it to PNG or JPEG"),
        (b"\0\0\0\x1cftypmif1", "HEIC is not supported; convert it to PNG or JPEG"),
        (b"\0\0\0\x18ftypavif", "AVIF is not supported; convert it to PNG or JPEG"),
        # Pillow would read this with Ghostscript, which runs programs.
        (
            encoded(Image.new("RGB", (2, 2)), "EPS"),
            "PostScript is not supported; convert it to PNG or JPEG",
        ),
        (b"%PDF-1.7", "PDF is not supported; convert it to PNG or JPEG"),
        (b"\n<?xml version='1.0'?>\n<svg/>", "SVG is not supported; convert it to PNG or JPEG"),
        (b"<ink xmlns=''>", "InkML is not supported; convert it to PNG or JPEG"),
        (b"<!DOCTYPE html>", "a web page is not supported; convert it to PNG or JPEG"),
        (
            b"version https://git-lfs.github.com/spec/v1",
            "a Git LFS pointer (run: git lfs pull) is not supported",
        ),
    ],
)
def test_other_files_are_named_with_the_remedy(raw: bytes, reason: str) -> None:
    fails(raw, reason)


def test_further_pages_are_warned_of(tmp_path: Path) -> None:
    pages = [Image.new("L", (9, 9)) for _ in range(3)]
    for kind in ("TIFF", "GIF", "WEBP", "PNG"):
        path = tmp_path / f"pages.{kind}"
        pages[0].save(path, kind, save_all=True, append_images=[Image.new("L", (9, 9), 9), *pages])
        with pytest.warns(UserWarning, match=r"only the first of \d pages is read; save each"):
            assert read(path).shape == (1, 9, 9)


@given(st.data(), st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"]))
def test_changed_bytes_are_read_or_refused(data: st.DataObject, kind: str) -> None:
    raw = bytearray(encoded(Image.fromarray(GREY), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DataError):
        pixels = decode(bytes(raw))
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3


images = arrays(
    np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=40).map(lambda s: (1, *s[1:]))
)


@given(images, st.sampled_from(["pad", "stretch"]), st.integers(8, 40))
def test_fitted_pictures_are_squares_within_the_range_they_had(
    image: NDArray[np.uint8], how: str, size: int
) -> None:
    found = resize(image, Preprocess(size=size, resize=how))

    assert found.shape == (1, size, size)
    assert found.dtype == np.uint8
    assert image.min() <= found.min() <= found.max() <= image.max()


@pytest.mark.parametrize("paper", [0, 200])
def test_margins_have_the_colour_of_the_border(paper: int) -> None:
    image = np.full((1, 8, 24), paper, dtype=np.uint8)
    image[0, 2:6, 4:20] = 100

    found = resize(image, Preprocess(size=24))[0]

    np.testing.assert_array_equal(found[8:16], image[0])
    assert (found[:8] == paper).all()
    assert (found[16:] == paper).all()


@pytest.mark.parametrize(
    ("light", "expected"), [(0, 0), (2, 0), (3, 3), (50, 50), (97, 97), (98, 100), (100, 100)]
)
def test_where_nearly_all_agree_the_few_follow(light: int, expected: int) -> None:
    paper = np.arange(100) < light

    assert needs_inversion(paper, Preprocess()).sum() == expected
    assert needs_inversion(paper, Preprocess(polarity="keep")).sum() == 0
