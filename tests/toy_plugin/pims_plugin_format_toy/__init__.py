"""A format of raw pixels for the tests of the import, with readers that misbehave on demand.

A file is b"TOY1", a line of JSON (the fields of `Toy`), then the pixels of the base, plane by plane
(t, z, c), each (height, width, samples).
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import signal
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.cache import cached_property as format_property
from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.abstract import (
    AbstractConvertor,
    AbstractFormat,
    AbstractParser,
    AbstractReader,
    SignatureChecker,
)
from pims.model.geometry import Region
from pims.model.metadata import AssociatedImage, ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Pyramid, Tier

MAGIC = b"TOY1"


@dataclass(frozen=True)
class Toy:
    """What a file of this format says and does."""

    width: int = 300
    height: int = 200
    samples: int = 3
    dtype: str = "uint8"
    bits: int = 8
    depth: int = 1
    duration: int = 1
    channels: int = 1
    tile: int = 128
    tiers: int = 2
    behaviour: str = ""
    """What the reader does instead of reading."""
    where: str = "tile"
    """When: at every tile, in planes but the first ("planes"), or as the metadata are read ("metadata")."""
    conversion: bool = False
    associated: str = ""
    warning: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.duration, self.depth, self.channels, self.height, self.width, self.samples

    def pixels(self) -> NDArray[Any]:
        """(t, z, c, height, width, samples), every value of the type's bits somewhere."""
        count = int(np.prod(self.shape))
        return (np.arange(count) % (1 << self.bits)).astype(self.dtype).reshape(self.shape)

    def as_bytes(self) -> bytes:
        header = json.dumps(dataclasses.asdict(self)).encode()
        return MAGIC + header + b"\n" + self.pixels().tobytes()


class ToyChecker(SignatureChecker):
    signatures = (MAGIC,)


class ToyParser(AbstractParser):
    format: ToyFormat

    def parse_main_metadata(self) -> ImageMetadata:
        toy = self.format.toy
        if toy.where == "metadata":
            misbehave(toy.behaviour)
        names = [name for name in toy.associated.split(",") if name]
        return ImageMetadata(
            toy.width,
            toy.height,
            toy.dtype,
            toy.bits,
            toy.samples,
            toy.depth,
            toy.duration,
            toy.channels,
            associated=tuple(AssociatedImage(name, 40, 30, 3) for name in names),
            physical_size_x_um=float("nan") if toy.behaviour == "nan" else 0.25,
            warnings=(toy.warning,) if toy.warning else (),
        )

    def parse_pyramid(self) -> Pyramid:
        toy = self.format.toy
        sizes = [(-(-toy.width // 2**level), -(-toy.height // 2**level)) for level in range(toy.tiers)]
        return Pyramid.of((width, height, toy.tile, toy.tile) for width, height in sizes)


class ToyReader(AbstractReader):
    format: ToyFormat

    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        toy = self.format.toy
        if toy.where == "tile" or (toy.where == "planes" and plane != Plane()):
            misbehave(toy.behaviour)
            if toy.behaviour == "wrong-shape":
                return np.zeros((3, 3, toy.samples), toy.dtype)
            if toy.behaviour == "wrong-type":
                return np.zeros((region.height, region.width, toy.samples), np.int32)
        stored = self.format.pixels[plane.t, plane.z, plane.c]
        coarse = stored[:: 2**tier.level, :: 2**tier.level]
        part = coarse[region.top : region.bottom : reduction, region.left : region.right : reduction]
        return np.ascontiguousarray(part)

    def read_label(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return np.zeros((30, 40, 3), np.uint8) if self.format.toy.associated == "label" else None


class ToyFormat(AbstractFormat):
    """Raw pixels."""

    checker_class = ToyChecker
    parser_class = ToyParser
    reader_class = ToyReader

    @cached_property
    def _start(self) -> tuple[Toy, int]:
        head = self.source.pread(0, min(4096, self.source.size))
        line, _, _ = head.partition(b"\n")
        try:
            return Toy(**json.loads(line.removeprefix(MAGIC))), len(line) + 1
        except (ValueError, TypeError) as error:
            raise CorruptFile(f"The header is damaged: {error}") from error

    @property
    def toy(self) -> Toy:
        return self._start[0]

    @format_property
    def need_conversion(self) -> bool:
        return self.toy.conversion

    @format_property
    def pixels(self) -> NDArray[Any]:
        """All of them. Raises CorruptFile."""
        length = int(np.prod(self.toy.shape)) * np.dtype(self.toy.dtype).itemsize
        data = self.source.pread(self._start[1], length)
        return np.frombuffer(data, self.toy.dtype).reshape(self.toy.shape)


class NativeConvertor(AbstractConvertor):
    """Turns a toy into another by itself."""

    format: NativeToyFormat

    def conversion_format(self) -> str:
        return "TOY"

    def convert(self, destination: Any) -> bool:
        toy = self.format.toy
        misbehave(toy.behaviour)
        if toy.behaviour == "bad-conversion":
            toy = dataclasses.replace(toy, width=toy.width + 1)
        destination.write_bytes(dataclasses.replace(toy, behaviour="", conversion=False).as_bytes())
        return True


class NativeToyChecker(ToyChecker):
    signatures = (b"TOY2",)


class NativeToyFormat(ToyFormat):
    """A toy that can't be served as it is, and that converts itself."""

    checker_class = NativeToyChecker
    convertor_class = NativeConvertor

    @cached_property
    def _start(self) -> tuple[Toy, int]:
        head = self.source.pread(0, min(4096, self.source.size))
        line, _, _ = head.partition(b"\n")
        return Toy(**{**json.loads(line.removeprefix(b"TOY2")), "where": "conversion"}), len(line) + 1

    @format_property
    def need_conversion(self) -> bool:
        return True


def forge() -> None:
    """Write nonsense on the pipe of the import, as memory that was overwritten may."""
    results = (b"{}", b"null", b'{"warnings": 5}', b"[" * 100_000)
    for link in Path("/proc/self/fd").iterdir():
        fd = int(link.name)
        if fd > 2 and link.is_fifo() and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
            for job in (1, 2, 3):
                for result in results:
                    os.write(fd, b'{"id": %d, "result": %b}\n' % (job, result))


def misbehave(behaviour: str) -> None:
    """What broken decoders do."""
    if behaviour == "segfault":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif behaviour == "loop":
        while True:
            time.sleep(0.01)
    elif behaviour == "slow":
        time.sleep(0.3)
    elif behaviour == "memory":
        np.ones(1 << 33, np.uint8)
    elif behaviour == "exit":
        os._exit(7)
    elif behaviour == "noise":
        os.write(1, b'{"id": 1, "result": "nonsense"}\n')
    elif behaviour == "forge":
        forge()
    elif behaviour == "bug":
        raise KeyError("colour")
    elif behaviour == "corrupt":
        raise CorruptFile("The pixels are damaged.")
    elif behaviour == "unsupported":
        raise UnsupportedFeature("This is too new.")
    elif behaviour == "limit":
        raise LimitExceeded("This is too much.")
    elif behaviour == "disk":
        raise OSError(5, "Input/output error", "/somewhere/image")


FORMATS = (ToyFormat, NativeToyFormat)
