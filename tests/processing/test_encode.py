"""Encoded files against independent decoders."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pims.errors import InvalidParameter, OutputTooLarge, UnsupportedFeature
from pims.processing.encode import MEDIA_TYPES, encode, max_bits


def smooth(height: int, width: int, samples: int, dtype: str = "uint8") -> NDArray[Any]:
    y, x = np.mgrid[0:height, 0:width]
    top = 255 if dtype == "uint8" else 65535
    ramps = [x / width, y / height, 1 - x / width][:samples]
    pixels: NDArray[Any] = np.rint(np.stack(ramps, axis=2) * top).astype(dtype)
    return pixels


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("media_type", list(MEDIA_TYPES))
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("size", [(64, 48), (37, 23), (1, 1)])
def test_files_are_of_their_type_and_show_the_pixels(
    media_type: str, samples: int, size: tuple[int, int]
) -> None:
    pixels = smooth(size[1], size[0], samples)
    image = decoded(encode(pixels, media_type))
    codec = {"image/jpg": "JPEG", "image/apng": "PNG"}.get(media_type, media_type.rpartition("/")[2].upper())
    assert image.format == codec
    assert image.size == size
    shown = np.asarray(image.convert("L" if samples == 1 else "RGB")).reshape(pixels.shape).astype(int)
    difference = np.abs(shown - pixels)
    assert difference.mean() <= (0 if codec == "PNG" else 4)
    assert difference.max() <= (0 if codec == "PNG" else 20)  # chroma is stored at half the resolution


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_is_exact(samples: int, dtype: str) -> None:
    pixels = np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (31, 17, samples)).astype(dtype)
    shown = cv2.imdecode(np.frombuffer(encode(pixels, "image/png"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown is not None
    assert shown.dtype == dtype
    np.testing.assert_array_equal(shown.reshape(pixels.shape)[:, :, ::-1], pixels)


def test_grey_has_one_component_where_the_format_has_grey() -> None:
    pixels = smooth(8, 8, 1)
    assert decoded(encode(pixels, "image/jpeg")).mode == "L"
    assert decoded(encode(pixels, "image/png")).mode == "L"
    assert decoded(encode(pixels, "image/webp")).mode == "RGB"


def test_webp_is_lossy() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert len(encode(pixels, "image/webp")) < pixels.size / 2


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/webp"])
@pytest.mark.parametrize("samples", [1, 3])
def test_any_memory_layout_is_taken(media_type: str, samples: int) -> None:
    pixels = smooth(40, 60, samples)
    pixels.flags.writeable = False
    for view in (pixels[::-1, ::2], np.asfortranarray(pixels), pixels[:, 7:30]):
        assert encode(view, media_type) == encode(view.copy(order="C"), media_type)


def test_png_has_up_to_16_bits() -> None:
    assert {media_type: max_bits(media_type) for media_type in MEDIA_TYPES} == {
        "image/jpeg": 8,
        "image/jpg": 8,
        "image/png": 16,
        "image/apng": 16,
        "image/webp": 8,
    }


@pytest.mark.parametrize(
    ("media_type", "limit"), [("image/jpeg", 65_500), ("image/webp", 16_382), ("image/png", 1_000_000)]
)
def test_sides_up_to_the_limit_of_the_codec_are_written(media_type: str, limit: int) -> None:
    for shape in ((1, limit, 1), (limit, 1, 1)):
        assert encode(np.zeros(shape, np.uint8), media_type)
    for shape in ((1, limit + 1, 1), (limit + 1, 1, 1)):
        with pytest.raises(OutputTooLarge) as caught:
            encode(np.zeros(shape, np.uint8), media_type)
        assert caught.value.limit == limit


@pytest.mark.parametrize(
    ("media_type", "dtype"),
    [("image/jpeg", "uint16"), ("image/webp", "uint16"), ("image/png", "float32"), ("image/png", "int8")],
)
def test_types_that_a_codec_can_not_hold_are_refused(media_type: str, dtype: str) -> None:
    with pytest.raises(UnsupportedFeature, match=dtype):
        encode(np.zeros((4, 4, 1), dtype), media_type)


@pytest.mark.parametrize("media_type", list(MEDIA_TYPES))
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (4, 4, 4), (0, 4, 3), (4, 0, 1)])
def test_shapes_that_are_no_picture_are_refused(media_type: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedFeature, match="Pixels of shape"):
        encode(np.zeros(shape, np.uint8), media_type)


def test_other_media_types_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="image/png"):
        encode(np.zeros((4, 4, 3), np.uint8), "image/tiff")
    with pytest.raises(InvalidParameter, match="image/png"):
        max_bits("text/html")
