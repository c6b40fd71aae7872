"""python -m pims.images.isolated_process: reads one image for a server, and may die of it.

Arguments: descriptor of the connection, descriptor of the memory for pixels, bytes of address space,
seconds for one request. Requests and answers are JSON lines, see `pims/images/isolated.py`.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pims.errors import PimsError, StorageError
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat, ReadContext
from pims.formats.engines.tile_cache import TileCache
from pims.model.geometry import Region
from pims.model.limits import Limits
from pims.model.planes import Plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["main"]

TILE_CACHE_BYTES = 64 << 20


class _ImageServer:
    """Answers requests about one image."""

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._image: AbstractFormat | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Raises PimsError, MemoryError, and whatever a foreign reader raises."""
        name, asked = next(iter(request.items()))
        if name == "open":
            return self._open(asked)
        image = self._image
        if image is None:
            raise StorageError("No image was opened.")
        if name == "raw":
            return {"raw": dict(image.raw_metadata)}
        if name == "conversion":
            return {"needed": bool(image.need_conversion)}
        if name == "label":
            return self._give(image.reader.read_label(*asked))
        if name == "macro":
            return self._give(image.reader.read_macro(*asked))
        if name == "thumbnail":
            return self._give(image.reader.read_thumbnail(*asked))
        tier = image.pyramid.tiers[asked["level"]]
        region, plane = Region(*asked["region"]), Plane(*asked["plane"])
        return self._give(image.reader.read_region(tier, region, plane, asked["reduction"]))

    def _open(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        found: type[AbstractFormat] = importlib.import_module(asked["module"]).__dict__[asked["class"]]
        source = LocalSource(Path(asked["path"]))
        if source.revision != asked["revision"]:
            raise StorageError("The file was replaced after it was opened; try again.")
        context = ReadContext(Limits(**asked["limits"]), TileCache(TILE_CACHE_BYTES))
        image = self._image = found(source, series=asked["series"], context=context)
        tiers = [(t.width, t.height, t.tile_width, t.tile_height) for t in image.pyramid.tiers]
        return {"main": image.main_imd.as_dict(), "full": image.full_imd.as_dict(), "tiers": tiers}

    def _give(self, pixels: NDArray[Any] | None) -> dict[str, Any]:
        """Put pixels where the server finds them."""
        if pixels is None:
            return {"shape": None}
        import numpy as np

        pixels = np.ascontiguousarray(pixels)
        view, done = pixels.data.cast("B"), 0
        os.ftruncate(self._pixels, pixels.nbytes)
        while done < pixels.nbytes:
            done += os.pwrite(self._pixels, view[done:], done)
        return {"shape": pixels.shape, "dtype": pixels.dtype.name}


def main() -> int:
    """Answer until the connection ends."""
    connection, pixels, memory, seconds = map(int, sys.argv[1:])
    _limit(memory)
    importlib.import_module("numpy")  # before it is needed: a process may stand ready for long
    server = _ImageServer(pixels)
    with suppress(ConnectionError), socket.socket(fileno=connection) as channel:
        channel.sendall(b'{"ready": true}\n')
        for line in channel.makefile("rb"):
            # The kernel ends a process that hangs even when the server that watches it is gone.
            signal.setitimer(signal.ITIMER_REAL, seconds)
            channel.sendall(json.dumps(_answer(server, line), default=str).encode() + b"\n")
            signal.setitimer(signal.ITIMER_REAL, 0)
    return 0


def _answer(server: _ImageServer, line: bytes) -> dict[str, Any]:
    try:
        return server.answer(json.loads(line))
    except PimsError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        return {"error": "LimitExceeded", "message": "There is not enough memory to read the image."}
    except Exception as error:  # noqa: BLE001 - foreign readers at a process boundary raise anything
        return {
            "error": "CorruptFile",
            "message": f"The image can't be read: {type(error).__name__}: {error}",
        }


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        memory = min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    sys.exit(main())
