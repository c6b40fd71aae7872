"""The file being identified: what every checker looks at, read and parsed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pims.cache.object import SimpleDataCache, cached_property
from pims.errors import FileError
from pims.model.limits import Limits
from pims.model.source import ByteSource

if TYPE_CHECKING:
    from pims.formats.engines.tiff.directory import TiffFile

__all__ = ["Probe"]

SIGNATURE_BYTES = 262


class Probe(SimpleDataCache):
    """Shared by all checkers during one detection."""

    def __init__(self, source: ByteSource, limits: Limits | None = None) -> None:
        super().__init__()
        self.source = source
        self.limits = limits or Limits()
        self.reason: FileError | None = None
        """Why the file, though of a family we know, could not be understood; kept for the error message."""

    @cached_property
    def signature(self) -> bytes:
        """The first 262 bytes, or what there is of them."""
        return self.source.pread(0, min(SIGNATURE_BYTES, self.source.size))

    @cached_property
    def tiff(self) -> TiffFile | None:
        """The directories of a TIFF; None when the file is no TIFF or is broken (see `reason`)."""
        from pims.formats.engines.tiff.directory import is_tiff, parse_tiff

        if not is_tiff(self.signature):
            return None
        try:
            return parse_tiff(self.source, self.limits)
        except FileError as error:
            self.reason = error
            return None
