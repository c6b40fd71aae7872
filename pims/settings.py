"""Every setting, read once at the top and passed down as values.

An environment variable wins over the file named by CONFIG_FILE, which wins over the default. Names are
case-insensitive; keys that no setting has are ignored, so that a configuration file can be shared.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from pims.api.params.size import SizeSafety
from pims.errors import ConfigurationError
from pims.model.limits import Limits

__all__ = ["NOT_USED", "Auth", "Settings", "without_effect"]


BASE_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")


DEFAULT_FILE = "pims-config.env"
NOT_USED: Mapping[str, str] = {
    "AUTO_DELETE_COLLECTION_ARCHIVE": "this version imports no archives",
    "AUTO_DELETE_FAILED_UPLOAD": "nothing of a failed import is kept",
    "AUTO_DELETE_MULTI_FILE_FORMAT_ARCHIVE": "this version imports no archives",
    "BIOFORMATS_HOST": "there is no such plug-in yet",
    "BIOFORMATS_PORT": "there is no such plug-in yet",
    "CACHE_ENABLED": "the cache is in memory, see RESPONSE_CACHE_BYTES",
    "CACHE_IMAGE_FORMAT_METADATA": "the cache is in memory, see MEMORY_LRU_CACHE_CAPACITY",
    "CACHE_IMAGE_RESPONSES": "the cache is in memory, see RESPONSE_CACHE_BYTES",
    "CACHE_RESPONSES": "the cache is in memory, see RESPONSE_CACHE_BYTES",
    "CACHE_URL": "the cache is in memory, see RESPONSE_CACHE_BYTES",
    "CHECKER_RESOLUTION_FILE": "what a file is, its content says; there is no order of plug-ins",
    "DATASET_PATH": "this version imports from the command line only",
    "DEFAULT_ANNOTATION_ORIGIN": "this version draws no annotations",
    "PENDING_PATH": "this version takes no uploads; imports are made in WRITING_PATH",
    "TASK_QUEUE_ENABLED": "this version imports in processes of this machine",
    "TASK_QUEUE_URL": "this version imports in processes of this machine",
    "VIPS_CACHE_MAX_ITEMS": "libvips is not used",
    "VIPS_CACHE_MAX_MEMORY": "libvips is not used",
    "VIPS_CACHE_MAX_FILES": "libvips is not used",
}
"""Settings that servers of this API have and this version does nothing with: name and why."""
MIN_SECRET = 8
"""Characters of a shared secret."""


class Auth(StrEnum):
    """Who may ask."""

    OFF = "off"
    NETWORK = "network"
    ACCOUNTS = "accounts"


class Settings(BaseSettings):
    """The configuration of one process; frozen."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", case_sensitive=False, env_ignore_empty=True
    )

    root: Path = Field(Path("data/pims"), description="Directory that holds the uploads.")
    writing_path: Path | None = Field(
        None,
        description="Where imports are made before they are published; ROOT/.pending by default. "
        "Must be on the same filesystem as ROOT.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(5000, ge=0, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=256, description="Server processes.")
    api_base_path: str = Field("", description="Prefix of every URL, for instance /ims.")
    auth: Auth = Field(
        Auth.OFF,
        description="off: loopback only. network: the networks of AUTH_NETWORKS and holders of "
        "AUTH_SECRET. accounts: not in this version.",
    )
    auth_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="With AUTH=network: comma-separated networks that may ask, for instance 10.0.0.0/8."
    )
    auth_secret: SecretStr | None = Field(
        None, description="With AUTH=network: a shared secret, sent as `Authorization: Bearer <secret>`."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="With AUTH=off: comma-separated names, besides localhost, under which this server "
        "may be asked, for instance by a proxy on the same machine.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated origins whose pages may use the API from a browser."
    )
    default_image_size_safety_mode: SizeSafety = Field(
        SizeSafety.SAFE_REJECT,
        description="What happens when an output is larger than OUTPUT_SIZE_LIMIT "
        "and the request has no X-Image-Size-Safety.",
    )
    output_size_limit: int = Field(10_000, ge=1, description="Longest side of an output, in pixels.")
    output_size_ceiling: int = Field(
        20_000, ge=1, description="Longest side of an output asked for with UNSAFE, in pixels."
    )
    image_response_cache_control_max_age: int = Field(
        86_400, ge=0, description="Seconds a client may keep an image without asking again."
    )
    memory_lru_cache_capacity: int = Field(500, ge=1, description="Images kept open by one server process.")
    tile_cache_bytes: int = Field(
        64 << 20, ge=0, description="Bytes of decoded tiles one server process keeps."
    )
    response_cache_bytes: int = Field(
        64 << 20, ge=0, description="Bytes of encoded responses one server process keeps."
    )
    log_config_file: Path | None = Field(
        None,
        description="File that says what the server logs, and how, for Python's logging.config.dictConfig: "
        "JSON, or YAML where PyYAML is installed. By default warnings and errors go to standard error.",
    )
    debug: bool = Field(
        False,
        description="Whether the server logs everything, as logging-debug.yml says, unless "
        "LOG_CONFIG_FILE is named.",
    )
    render_threads: int = Field(
        0, ge=0, le=256, description="Threads of one server process that decode and encode; 0: one per core."
    )
    render_memory: int = Field(
        512 << 20,
        ge=1 << 20,
        description="Bytes that the large images one server process makes at a time may need together; one "
        "that needs more is made alone, what comes meanwhile is refused with 503.",
    )
    render_patience: float = Field(
        30.0, gt=0, le=3600, description="Seconds a request waits for its turn before it is refused with 503."
    )
    helper_processes: int = Field(
        4,
        ge=1,
        le=256,
        description="Processes that one server process keeps to read images of formats that it does not read "
        "itself; one more stands ready.",
    )
    helper_memory: int = Field(
        3 << 30, ge=1 << 30, le=1 << 60, description="Address space of one of HELPER_PROCESSES, in bytes."
    )
    max_decode_pixels: int = Field(
        1_000_000_000, ge=1, description="Pixels of the largest image that can only be decoded as a whole."
    )
    conversion_lossless: Literal["zstd", "deflate"] = Field(
        "zstd", description="Codec of conversions of images that were not compressed with loss."
    )
    conversion_jpeg_quality: int = Field(
        90, ge=1, le=100, description="JPEG quality of conversions of images that were compressed with loss."
    )
    import_memory_limit: int = Field(
        4 << 30, ge=1 << 30, le=1 << 60, description="Address space of one import, in bytes."
    )
    import_time_limit: float = Field(3600.0, gt=0, le=864_000, description="Seconds one import may take.")
    max_pixels_complete_histogram: int = Field(
        1 << 20, ge=1, description="Pixels up to which the histogram of an image counts every pixel."
    )
    max_length_complete_histogram: int = Field(
        1024, ge=1, description="Longest side, in pixels, of what a larger image is counted from."
    )

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Read environment and file; `overrides` win over both. Raises ConfigurationError, one line."""
        environ = os.environ if environ is None else environ
        file = environ.get("CONFIG_FILE", "")
        _require_readable(file)
        given: dict[str, Any] = {
            name.lower(): value
            for name, value in environ.items()
            if name.lower() in cls.model_fields and value  # an empty value is no value
        }
        given |= {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(_env_file=file or DEFAULT_FILE, **given)  # type: ignore[call-arg]
        except ValidationError as error:
            first = error.errors()[0]
            name = "_".join(str(part) for part in first["loc"] if isinstance(part, str)).upper()
            reason = first["msg"].removeprefix("Value error, ")
            raise ConfigurationError(f"{name}: {reason}" if name else reason) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, dotenv_settings  # `load` hands the environment over

    @field_validator("allowed_hosts", "auth_networks", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("auth_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("auth_secret")
    @classmethod
    def _secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not (value.get_secret_value().isascii() and len(value) >= MIN_SECRET):
            raise ValueError(f"must have at least {MIN_SECRET} characters, all of them ASCII")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in value:
            raise ValueError("name the origins; * would let any web page read the images")
        return value

    @field_validator("api_base_path")
    @classmethod
    def _base_path(cls, value: str) -> str:
        value = value.rstrip("/")
        if not BASE_PATH.fullmatch(value):
            raise ValueError("must start with / and be made of letters, digits and . _ ~ -")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.auth is Auth.ACCOUNTS:
            raise ValueError("AUTH: accounts are not in this version; use off or network")
        if self.auth is Auth.NETWORK and not self.auth_networks and self.auth_secret is None:
            raise ValueError("AUTH: network needs AUTH_NETWORKS or AUTH_SECRET")
        if self.auth is Auth.OFF and not _is_loopback(self.host):
            raise ValueError(
                f"HOST: {self.host} can be reached by others and AUTH is off; "
                "listen on 127.0.0.1, or set AUTH=network with AUTH_NETWORKS or AUTH_SECRET"
            )
        if self.pending_path.resolve() == self.root.resolve():
            raise ValueError("WRITING_PATH: must not be ROOT itself; leave it out for ROOT/.pending")
        if self.output_size_ceiling < self.output_size_limit:
            raise ValueError("OUTPUT_SIZE_CEILING: must not be below OUTPUT_SIZE_LIMIT")
        return self

    @property
    def pending_path(self) -> Path:
        """Where imports are made before they are published; WRITING_PATH may name a link to it."""
        return self.writing_path.resolve() if self.writing_path else self.root / ".pending"

    @property
    def limits(self) -> Limits:
        """What files may ask for."""
        return Limits(max_decode_pixels=self.max_decode_pixels)

    def redacted(self) -> dict[str, Any]:
        """Name and value of every setting, secrets hidden; plain JSON types."""
        return {
            name.upper(): ("********" if isinstance(getattr(self, name), SecretStr) else value)
            for name, value in self.model_dump(mode="json").items()
        }


def without_effect(environ: Mapping[str, str] | None = None) -> list[str]:
    """Sentences on settings that are set and not used. Raises ConfigurationError."""
    environ = os.environ if environ is None else environ
    file = environ.get("CONFIG_FILE", "")
    _require_readable(file)
    every = {**dotenv_values(file or DEFAULT_FILE), **environ}
    given = {name.upper() for name, value in every.items() if value}
    return [f"{name}: has no effect: {why}" for name, why in NOT_USED.items() if name in given]


def _require_readable(file: str) -> None:
    """Raises ConfigurationError for a CONFIG_FILE that is named and can't be read."""
    if not file:
        return
    try:
        Path(file).read_text("utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(f"CONFIG_FILE: there is no file {file}") from error
    except OSError as error:
        raise ConfigurationError(f"CONFIG_FILE: {file[:200]} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"CONFIG_FILE: {file} is no UTF-8 text") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
