"""The server and its formats, as clients see them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from pims.api.schemas.envelope import Items
from pims.formats.abstract import AbstractFormat
from pims.formats.facts import FormatFacts
from pims.formats.registry import FormatRegistry

__all__ = ["FormatInfo", "FormatList", "Health", "PluginFailureInfo", "Pong", "ServerInfo"]


class Pong(BaseModel):
    ping: Literal["pong"] = "pong"


class Health(BaseModel):
    """All is well; when it is not, the answer is a problem that says why."""

    status: Literal["live", "ready"]


class ServerInfo(BaseModel):
    """The version, and the settings a client may want to know: no secrets, no paths."""

    version: str
    settings: dict[str, Any]


class FormatInfo(BaseModel):
    """One image format."""

    id: str
    name: str
    remarks: str
    convertible: bool = Field(description="Whether images may be converted at import.")
    readable: bool
    writable: bool
    importable: bool
    plugin: str = Field(description="The package that brought it.")
    extensions: list[str] = Field(description="For information: no file is recognised by its name.")
    media_type: str
    conversion: Literal["native", "light", "heavy"] = Field(
        description="Served from its own file; converted when large; the same, taking long or much memory."
    )
    bits: list[int] = Field(description="Bits of the integer samples it reads.")
    floating_point: bool = Field(description="Whether it reads floating-point samples.")
    samples: list[int] = Field(description="Samples of a pixel as they are shown, without alpha.")
    planes: list[Literal["c", "z", "t"]] = Field(
        description="What the planes of one image may differ by: channel, focus, time."
    )
    brightfield: bool = Field(description="Whether its images may be brightfield.")
    grouping: Literal["single file", "folder"] = Field(description="What one image is on disk.")

    @classmethod
    def of(cls, fmt: type[AbstractFormat]) -> FormatInfo:
        return cls(**FormatFacts.of(fmt).as_dict())


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
