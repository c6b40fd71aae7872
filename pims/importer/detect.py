"""Which format a file is of."""

from __future__ import annotations

from pims.formats.abstract import AbstractFormat
from pims.formats.probe import Probe
from pims.formats.registry import FormatRegistry
from pims.model.limits import Limits
from pims.model.source import ByteSource

__all__ = ["detect"]


def detect(source: ByteSource, registry: FormatRegistry, limits: Limits) -> type[AbstractFormat]:
    """The format of the file, by its content.

    Raises NoMatchingFormat, or the reason why a file of a known family can't be understood (FileError).
    """
    return registry.identify(Probe(source, limits))
