"""How much a file may ask for before anything of it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds every engine checks from the headers alone; beyond them it raises LimitExceeded."""

    max_side: int = 4_194_304
    """Pixels a side of an image."""
    max_decode_pixels: int = 1_000_000_000
    """Pixels of what can only be decoded as a whole: a JPEG, a PNG, a strip."""
    max_segment_bytes: int = 1 << 30
    """Decoded bytes of one tile or strip of a TIFF."""
    max_directories: int = 65_536
    """Directories of a TIFF."""
    max_tag_bytes: int = 256 << 20
    """Bytes of one TIFF tag."""
    max_samples: int = 16
    """Samples of one pixel."""
