"""The formats this server knows: found once at start, then never changed."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points

from pims.errors import FileError, FormatNotFound, NoMatchingFormat
from pims.formats.abstract import AbstractFormat
from pims.formats.probe import Probe

__all__ = ["FormatRegistry", "PluginFailure", "discover_formats"]

logger = logging.getLogger("pims.formats")

ENTRY_POINT_GROUP = "pims.formats"
PACKAGE_PREFIX = "pims_plugin_format_"
CORE_PACKAGE = "pims.formats.common"


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plug-in that could not be loaded; the server goes on without it."""

    package: str
    reason: str


class FormatRegistry:
    """An immutable, ordered set of formats. Vendors' formats are tried before the generic ones."""

    def __init__(
        self, formats: Iterable[type[AbstractFormat]] = (), failures: Iterable[PluginFailure] = ()
    ) -> None:
        self._formats: dict[str, type[AbstractFormat]] = {}
        for fmt in sorted(formats, key=lambda fmt: fmt.generic):
            identifier = fmt.get_identifier()
            if identifier in self._formats:
                raise ValueError(f"two formats are called {identifier}")
            self._formats[identifier] = fmt
        self.failures = tuple(failures)

    def with_formats(self, formats: Iterable[type[AbstractFormat]]) -> FormatRegistry:
        """A new registry with these formats added. Raises ValueError when an identifier is taken."""
        return FormatRegistry([*self, *formats], self.failures)

    def __iter__(self) -> Iterator[type[AbstractFormat]]:
        return iter(self._formats.values())

    def __len__(self) -> int:
        return len(self._formats)

    def get(self, identifier: str) -> type[AbstractFormat]:
        """The format of that identifier, in any case. Raises FormatNotFound."""
        try:
            return self._formats[identifier.upper()]
        except KeyError:
            raise FormatNotFound(identifier) from None

    def identify(self, probe: Probe) -> type[AbstractFormat]:
        """The first importable format that recognises the file.

        Raises NoMatchingFormat, or the reason why a file of a known family could not be understood.
        """
        for fmt in self:
            try:
                if fmt.is_importable() and fmt.match(probe):
                    return fmt
            except FileError as error:  # broken as a file of that format; another may take it
                probe.reason = error
        if probe.reason is not None:
            raise probe.reason
        if probe.source.size == 0:
            raise NoMatchingFormat("The file is empty.")
        raise NoMatchingFormat(
            f"The content is of none of the formats this server reads: {', '.join(self._formats)}."
        )


def discover_formats() -> FormatRegistry:
    """The core formats and those of every installed plug-in.

    A plug-in is a package named by an entry point of the group `pims.formats`, or one called
    `pims_plugin_format_*`; it exports FORMATS. One that fails to load is logged and reported, and never
    stops the server.
    """
    registry = FormatRegistry(importlib.import_module(CORE_PACKAGE).FORMATS)
    failures: list[PluginFailure] = []
    for package in _plugin_packages():
        try:
            formats = importlib.import_module(package).FORMATS
            registry = registry.with_formats(formats)
        except Exception as error:  # noqa: BLE001 - foreign code: whatever it raises, the others must load
            logger.warning("plug-in %s could not be loaded: %s", package, error)
            failures.append(PluginFailure(package, f"{type(error).__name__}: {error}"))
    return FormatRegistry(registry, failures)


def _plugin_packages() -> list[str]:
    named = {point.value.partition(":")[0] for point in entry_points(group=ENTRY_POINT_GROUP)}
    found = {module.name for module in pkgutil.iter_modules() if module.name.startswith(PACKAGE_PREFIX)}
    return sorted(named | found)
