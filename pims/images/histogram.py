"""The stored histogram of an image: one .npz file without pickle inside."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile, RepresentationNotFound, StorageError
from pims.files.atomic import write_beside
from pims.files.layout import Role

__all__ = [
    "HISTOGRAM_VERSION",
    "HistogramType",
    "StoredHistogram",
    "read_channel_bounds",
    "read_histogram",
    "write_histogram",
]

HISTOGRAM_VERSION = 1


class HistogramType(StrEnum):
    """What was counted."""

    FAST = "FAST"
    """A thumb."""
    COMPLETE = "COMPLETE"
    """Every pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredHistogram:
    """How often every intensity occurs."""

    type: HistogramType
    channel_counts: NDArray[np.uint64]
    """(apparent channel, 2**min(significant bits, 16)); all planes of a channel together."""
    plane_bounds: NDArray[np.uint32]
    """(t, z, apparent channel, 2): lowest and highest intensity that occurs."""
    width: int
    """Size of what was counted of every plane, in pixels."""
    height: int

    def channel_bounds(self) -> tuple[tuple[int, int], ...]:
        """(lowest, highest) intensity of every apparent channel over all its planes."""
        return _over_planes(self.plane_bounds)


def _over_planes(plane_bounds: NDArray[Any]) -> tuple[tuple[int, int], ...]:
    lows = plane_bounds[..., 0].min(axis=(0, 1))
    highs = plane_bounds[..., 1].max(axis=(0, 1))
    return tuple((int(low), int(high)) for low, high in zip(lows, highs, strict=True))


def write_histogram(path: Path, histogram: StoredHistogram) -> None:
    """Whole or not at all. Raises StorageError."""
    try:
        with write_beside(path) as file:
            np.savez_compressed(
                file,
                version=np.uint32(HISTOGRAM_VERSION),
                type=np.str_(histogram.type.value),
                size=np.array([histogram.width, histogram.height], np.uint32),
                plane_bounds=histogram.plane_bounds,
                channel_counts=histogram.channel_counts,
            )
    except OSError as error:
        raise StorageError(f"The histogram can't be written: {error.strerror}") from error


def read_histogram(path: Path) -> StoredHistogram:
    """Raises RepresentationNotFound when there is none, CorruptFile when it is damaged."""
    values = _load(path, ("type", "size", "plane_bounds", "channel_counts"))
    counts, plane_bounds, size = values["channel_counts"], values["plane_bounds"], values["size"]
    _check_bounds(plane_bounds)
    if counts.dtype != np.uint64 or counts.ndim != 2 or counts.shape[0] != plane_bounds.shape[2]:
        raise CorruptFile(_damaged("its counts have another shape"))
    try:
        kind = HistogramType(str(values["type"]))
        width, height = (int(side) for side in size)
    except (TypeError, ValueError) as error:
        raise CorruptFile(_damaged(str(error))) from error
    return StoredHistogram(kind, counts, plane_bounds, width, height)


def read_channel_bounds(path: Path) -> tuple[tuple[int, int], ...]:
    """StoredHistogram.channel_bounds without reading the counts. Raises as `read_histogram`."""
    plane_bounds = _load(path, ("plane_bounds",))["plane_bounds"]
    _check_bounds(plane_bounds)
    return _over_planes(plane_bounds)


def _check_bounds(plane_bounds: NDArray[Any]) -> None:
    shape = plane_bounds.shape
    if plane_bounds.dtype != np.uint32 or len(shape) != 4 or shape[3] != 2 or min(shape) < 1:
        raise CorruptFile(_damaged("its bounds have another shape"))


def _load(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if int(stored["version"]) != HISTOGRAM_VERSION:
                raise CorruptFile(_damaged("it is of another version"))
            return {name: stored[name] for name in names}
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        # A directory is what older servers wrote.
        raise RepresentationNotFound(Role.HISTOGRAM) from error
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        EOFError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
    ) as error:
        raise CorruptFile(_damaged(str(error))) from error


def _damaged(reason: str) -> str:
    return f"The stored histogram is damaged: {reason}; import the image again."
