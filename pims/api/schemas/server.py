"""The server and its formats, as clients see them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from pims.api.schemas.envelope import Items
from pims.formats.abstract import AbstractFormat
from pims.formats.registry import FormatRegistry

__all__ = ["FormatInfo", "FormatList", "PluginFailureInfo", "Pong", "ServerInfo"]


class Pong(BaseModel):
    ping: Literal["pong"] = "pong"


class ServerInfo(BaseModel):
    """The version, and the settings a client may want to know: no secrets, no paths."""

    version: str
    settings: dict[str, Any]


class FormatInfo(BaseModel):
    """One image format."""

    id: str
    name: str
    remarks: str
    convertible: bool = Field(description="Whether images are converted at import.")
    readable: bool
    writable: bool
    importable: bool
    plugin: str = Field(description="The package that brought it.")

    @classmethod
    def of(cls, fmt: type[AbstractFormat]) -> FormatInfo:
        return cls(
            id=fmt.get_identifier(),
            name=fmt.get_name(),
            remarks=fmt.get_remarks(),
            convertible=fmt.is_convertible(),
            readable=fmt.is_readable(),
            writable=fmt.is_writable(),
            importable=fmt.is_importable(),
            plugin=fmt.get_plugin_name(),
        )


class PluginFailureInfo(BaseModel):
    """A plug-in the server goes on without."""

    plugin: str
    reason: str


class FormatList(Items[FormatInfo]):
    """The formats by identifier, and the plug-ins that could not be loaded."""

    failures: list[PluginFailureInfo]

    @classmethod
    def of_registry(cls, registry: FormatRegistry) -> FormatList:
        items = sorted((FormatInfo.of(fmt) for fmt in registry), key=lambda info: info.id)
        failures = [PluginFailureInfo(plugin=f.package, reason=f.reason) for f in registry.failures]
        return cls(items=items, size=len(items), failures=failures)
