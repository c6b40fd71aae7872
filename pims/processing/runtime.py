"""What a process that works on pixels is told once."""

from __future__ import annotations

import ctypes

import cv2

__all__ = ["prepare_process"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""
MMAP_BYTES = 8 << 20
"""Smaller pieces of memory come from what was freed before: a tile is decoded into memory that is there,
not into new pages that the kernel has to clear for it. A tile with gamma then takes 440 microseconds instead
of 535 while the cache of tiles fills up; once it is full, the difference is small."""
TRIM_BYTES = 64 << 20
"""Freed memory that is kept for the next tiles."""


def prepare_process() -> None:
    """Let OpenCV work in the thread that calls it, for requests are what runs side by side, and keep some
    freed memory for the next request."""
    cv2.setNumThreads(1)
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
    mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
