"""OpenCV's own threads."""

from __future__ import annotations

import cv2

__all__ = ["use_one_thread"]


def use_one_thread() -> None:
    """Let OpenCV work in the thread that calls it: requests are what runs side by side in this server."""
    cv2.setNumThreads(1)
