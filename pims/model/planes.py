"""The planes of an image: one concrete channel, focal plane and time point."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FIRST_PLANE", "Plane"]


@dataclass(frozen=True, slots=True)
class Plane:
    """What one read of a reader gives: concrete channel c, focal plane z, time point t."""

    c: int = 0
    z: int = 0
    t: int = 0


FIRST_PLANE = Plane()
