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
from pims.processing.histogram import Bins
from pims.processing.request import Bounds

__all__ = [
    "HISTOGRAM_VERSION",
    "HistogramType",
    "StoredHistogram",
    "read_channel_bounds",
    "read_histogram",
    "write_histogram",
]

HISTOGRAM_VERSION = 2
"""Version 1 had no counts by plane, no bins but whole numbers from 0, and uint32 bounds; it is still read."""
ONE_PLANE = (1, 1)
"""Time points and focal planes of images whose channels are their planes: those counts are stored once."""
NO_BOUNDS = (0.0, 1.0)
"""Of what holds no finite number."""


class HistogramType(StrEnum):
    """What was counted."""

    FAST = "FAST"
    """A thumb."""
    COMPLETE = "COMPLETE"
    """Every pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredHistogram:
    """How often intensities occur; all counts have the same bins."""

    type: HistogramType
    bins: Bins
    channel_counts: NDArray[np.uint64]
    """(apparent channel, bin); all planes of a channel together."""
    plane_bounds: NDArray[Any]
    """(t, z, apparent channel, 2): lowest and highest intensity that occurs, int64; of real numbers float64,
    and NaN where none is finite."""
    plane_counts: NDArray[np.uint64] | None
    """(t, z, apparent channel, bin); none when they would be too many to keep."""
    absent: NDArray[np.uint64]
    """(t, z, apparent channel, 2): how many values are NaN, and how many are infinite or stand for no data.
    They are in no bin."""
    width: int
    """Size of what was counted of every plane, in pixels."""
    height: int
    level: int | None = None
    """The stored tier that was read, 0 being the best resolution; none if nobody wrote it down."""

    def image_counts(self) -> NDArray[np.uint64]:
        """(bin,): all channels together."""
        return np.asarray(self.channel_counts.sum(axis=0), np.uint64)

    def image_bounds(self) -> tuple[float, float]:
        """(lowest, highest) intensity of all channels; as `channel_bounds` where none is finite."""
        bounds = self.plane_bounds.reshape(1, 1, -1, 2)
        return _pairs(_reduced(bounds, (0, 1, 2))[np.newaxis])[0]

    def channel_bounds(self) -> Bounds:
        """(lowest, highest) intensity of every apparent channel over all its planes.

        int for images of integers, float for those of real numbers: 0 to 1 for a channel without any.
        """
        return _channel_bounds(self.plane_bounds)

    def bounds_at(self, z: int, t: int) -> Bounds:
        """(lowest, highest) intensity of every apparent channel at one focal plane and time point."""
        return _pairs(self.plane_bounds[t, z])


def _channel_bounds(plane_bounds: NDArray[Any]) -> Bounds:
    return _pairs(_reduced(plane_bounds, (0, 1)))


def _reduced(bounds: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """Lowest and highest over some axes, without what is NaN."""
    lows, highs = np.fmin.reduce(bounds[..., 0], axis=axes), np.fmax.reduce(bounds[..., 1], axis=axes)
    return np.stack([lows, highs], axis=-1)


def _pairs(bounds: NDArray[Any]) -> tuple[tuple[float, float], ...]:
    return tuple(NO_BOUNDS if low != low else (low, high) for low, high in bounds.tolist())


def write_histogram(path: Path, histogram: StoredHistogram) -> None:
    """Whole or not at all. Raises StorageError."""
    bins, plane_counts = histogram.bins, histogram.plane_counts
    arrays: dict[str, Any] = {}
    if plane_counts is not None and plane_counts.shape[:2] != ONE_PLANE:
        arrays["plane_counts"] = plane_counts
    try:
        with write_beside(path) as file:
            np.savez_compressed(
                file,
                version=np.uint32(HISTOGRAM_VERSION),
                type=np.str_(histogram.type.value),
                size=np.array([histogram.width, histogram.height], np.uint32),
                level=np.int32(-1 if histogram.level is None else histogram.level),
                bins=np.array([bins.lowest, bins.highest, bins.count], np.float64),
                plane_bounds=histogram.plane_bounds,
                channel_counts=histogram.channel_counts,
                absent=histogram.absent,
                **arrays,
            )
    except OSError as error:
        raise StorageError(f"The histogram can't be written: {error.strerror}") from error


def read_histogram(path: Path) -> StoredHistogram:
    """Raises RepresentationNotFound when there is none, CorruptFile when it is damaged."""
    stored = _load(path)
    plane_bounds = _checked_bounds(stored)
    counts = stored["channel_counts"]
    try:
        if int(stored["version"]) == 1:
            bins, level = Bins(0, counts.shape[1], counts.shape[1]), -1
            absent = np.zeros(plane_bounds.shape, np.uint64)
        else:
            lowest, highest, count = (float(number) for number in stored["bins"])
            bins, level, absent = Bins(lowest, highest, int(count)), int(stored["level"]), stored["absent"]
        kind = HistogramType(str(stored["type"]))
        width, height = (int(side) for side in stored["size"])
    except (IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise CorruptFile(_damaged(str(error))) from error
    plane_counts = stored.get("plane_counts")
    _check_shape(counts, (plane_bounds.shape[2], bins.count))
    if plane_counts is None and plane_bounds.shape[:2] == ONE_PLANE:
        plane_counts = counts[np.newaxis, np.newaxis]
    _check_shape(absent, plane_bounds.shape)
    if plane_counts is not None:
        _check_shape(plane_counts, (*plane_bounds.shape[:3], bins.count))
    return StoredHistogram(
        kind,
        bins,
        counts,
        plane_bounds,
        plane_counts,
        absent,
        width,
        height,
        level if level >= 0 else None,
    )


def read_channel_bounds(path: Path) -> Bounds:
    """StoredHistogram.channel_bounds without reading the counts. Raises as `read_histogram`."""
    return _channel_bounds(_checked_bounds(_load(path, ("plane_bounds",))))


def _checked_bounds(stored: dict[str, NDArray[Any]]) -> NDArray[Any]:
    bounds = stored["plane_bounds"]
    if int(stored["version"]) == 1 and bounds.dtype == np.uint32:
        bounds = bounds.astype(np.int64)
    shape = bounds.shape
    if bounds.dtype not in (np.int64, np.float64) or len(shape) != 4 or shape[3] != 2 or min(shape) < 1:
        raise CorruptFile(_damaged("its bounds have another shape"))
    if np.isinf(bounds).any() or (bounds[..., 0] > bounds[..., 1]).any():
        raise CorruptFile(_damaged("its bounds are none"))
    return bounds


def _check_shape(counts: NDArray[Any], shape: tuple[int, ...]) -> None:
    if counts.dtype != np.uint64 or counts.shape != shape:
        raise CorruptFile(_damaged("its counts have another shape"))


def _load(path: Path, names: tuple[str, ...] = ()) -> dict[str, NDArray[Any]]:
    """The version and the arrays named; all there are when none is."""
    required = names or ("type", "size", "plane_bounds", "channel_counts")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            version = stored["version"]
            if int(version) not in (1, HISTOGRAM_VERSION):
                raise CorruptFile(_damaged("it is of another version"))
            wanted = {*required, *(() if names else stored.files)} - {"version"}
            return {"version": version, **{name: stored[name] for name in wanted}}
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
