"""The EXIF tags that describe an image, read from a small TIFF in memory.

Only the first directory and the EXIF directory it points at are read, once each: no chain is followed,
so nothing can loop. A damaged tag is left out; damage here never makes an image unreadable.
Tags: CIPA DC-008 (EXIF 2.32), tables 4, 7 and 8; TIFF 6.0, section 2.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

__all__ = ["UNITS_PER_INCH", "Density", "Exif", "parse_date", "parse_exif"]

INCH_UM = 25_400.0
MIN_PIXEL_UM, MAX_PIXEL_UM = 1e-6, 1e6
SCREEN_DENSITIES = (72.0, 96.0)
MAX_ENTRIES = 512
MAX_TEXT_BYTES = 65_536
MAX_DATE_LENGTH = 64
EXIF_DIRECTORY = 0x8769
ASCII, UNDEFINED = 2, 7
NUMBER_FORMATS = {1: "B", 3: "H", 4: "I", 9: "i"}
RATIONAL_FORMATS = {5: "II", 10: "ii"}
TYPE_BYTES = {1: 1, ASCII: 1, 3: 2, 4: 4, 5: 8, UNDEFINED: 1, 9: 4, 10: 8}
TAG_NAMES = {
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0112: "Orientation",
    0x011A: "XResolution",
    0x011B: "YResolution",
    0x0128: "ResolutionUnit",
    0x0131: "Software",
    0x0132: "ModifyDate",
    0x013B: "Artist",
    0x8298: "Copyright",
    0x829A: "ExposureTime",
    0x829D: "FNumber",
    0x8827: "ISO",
    0x9003: "DateTimeOriginal",
    0x9004: "CreateDate",
    0x9286: "UserComment",
    0xA001: "ColorSpace",
    0xA420: "ImageUniqueID",
    0xA431: "SerialNumber",
    0xA434: "LensModel",
}
UNITS_PER_INCH = {2: 1.0, 3: 2.54}
"""ResolutionUnit: inch and centimetre. 1 is no unit: the numbers then are only an aspect ratio."""


@dataclass(frozen=True, slots=True)
class Density:
    """Pixels per inch, as a file declares them."""

    x: float
    y: float

    def pixel_size_um(self) -> tuple[float | None, float | None]:
        """Width and height of a pixel in micrometres; none where the density is nonsense or the default.

        72 and 96 pixels per inch (also rounded to whole centimetres) are those of screens: what software
        writes when it knows nothing.
        """
        if any(abs(self.x - screen) < 1.1 and abs(self.y - screen) < 1.1 for screen in SCREEN_DENSITIES):
            return None, None
        return _inverted(self.x), _inverted(self.y)


def _inverted(per_inch: float) -> float | None:
    if not math.isfinite(per_inch) or per_inch <= 0:
        return None
    size = INCH_UM / per_inch
    return size if MIN_PIXEL_UM < size < MAX_PIXEL_UM else None


@dataclass(frozen=True, slots=True)
class Exif:
    """What was found, by tag name."""

    values: Mapping[str, str | int | float] = field(default_factory=lambda: MappingProxyType({}))

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if isinstance(value, str) and value else None

    @property
    def orientation(self) -> int:
        """1 to 8; 1, as stored, when the file says nothing sensible."""
        value = self.values.get("Orientation")
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    @property
    def density(self) -> Density | None:
        unit = self.values.get("ResolutionUnit", 2)
        factor = UNITS_PER_INCH.get(unit) if isinstance(unit, int) else None
        x, y = self.values.get("XResolution"), self.values.get("YResolution")
        if factor is None or not isinstance(x, float) or not isinstance(y, float):
            return None
        return Density(x * factor, y * factor)

    @property
    def taken_at(self) -> datetime | None:
        """When the picture was taken, or else digitized, or else last changed; without a time zone."""
        for name in ("DateTimeOriginal", "CreateDate", "ModifyDate"):
            taken = parse_date(self.text(name))
            if taken is not None:
                return taken
        return None


def parse_exif(data: bytes) -> Exif:
    """The tags in `data`, which starts with the TIFF header. Empty when that is no TIFF."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return Exif()
    values: dict[str, str | int | float] = {}
    (first,) = struct.unpack_from(f"{order}I", data, 4)
    for directory in (first, _exif_directory(data, order, first)):
        for tag, kind, raw in _entries(data, order, directory):
            value = _value(order, tag, kind, raw)
            if tag in TAG_NAMES and value is not None:
                values.setdefault(TAG_NAMES[tag], value)
    return Exif(MappingProxyType(values))


def _exif_directory(data: bytes, order: str, first: int) -> int:
    """Where the EXIF directory is; 0, which is no place for one, when there is none."""
    for tag, kind, raw in _entries(data, order, first):
        if tag == EXIF_DIRECTORY and kind == 4:
            offset: int = struct.unpack_from(f"{order}I", raw)[0]
            return offset if offset != first else 0
    return 0


def _entries(data: bytes, order: str, offset: int) -> Iterator[tuple[int, int, bytes]]:
    """(tag, type, bytes of the value) of the entries whose value lies within the data."""
    if not 8 <= offset <= len(data) - 2:
        return
    (count,) = struct.unpack_from(f"{order}H", data, offset)
    for index in range(min(count, MAX_ENTRIES)):
        position = offset + 2 + 12 * index
        if position + 12 > len(data):
            return
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, position)
        size = TYPE_BYTES.get(kind, 0) * number
        if not 0 < size <= len(data):
            continue
        start = position + 8 if size <= 4 else struct.unpack_from(f"{order}I", data, position + 8)[0]
        if start + size <= len(data):
            yield tag, kind, data[start : start + min(size, MAX_TEXT_BYTES)]


def _value(order: str, tag: int, kind: int, raw: bytes) -> str | int | float | None:
    """The first number of an entry, or its text."""
    if kind == ASCII:
        return _text(raw)
    if TAG_NAMES.get(tag) == "UserComment":  # UNDEFINED in the standard; some software writes BYTE
        return _comment(order, raw)
    if kind == UNDEFINED:
        return None
    if kind in NUMBER_FORMATS:
        number: int = struct.unpack_from(order + NUMBER_FORMATS[kind], raw)[0]
        return number
    numerator, denominator = struct.unpack_from(order + RATIONAL_FORMATS[kind], raw)
    return float(numerator / denominator) if denominator else None


def _text(raw: bytes) -> str | None:
    """Text up to the first NUL: UTF-8, which more software writes than the ASCII of the standard."""
    raw = raw.partition(b"\0")[0]
    try:
        return raw.decode("utf-8").strip() or None
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip() or None


def _comment(order: str, raw: bytes) -> str | None:
    """UserComment: eight bytes that name the character code, then the text."""
    code, body = raw[:8], raw[8:]
    if code == b"UNICODE\0":
        text = body.decode("utf-16-le" if order == "<" else "utf-16-be", errors="replace")
        return text.partition("\0")[0].strip() or None
    if code in (b"ASCII\0\0\0", bytes(8)):
        return _text(body)
    return None


def parse_date(text: str | None) -> datetime | None:
    """A date as EXIF, ISO 8601 or RFC 5322 (which PNG recommends) write it; none for anything else."""
    if not text or len(text) > MAX_DATE_LENGTH:
        return None
    text = text.strip()
    try:
        return datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
