"""The path parameter that names an image."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

__all__ = ["Filepath"]

Filepath = Annotated[
    str,
    Path(
        description="Path of any file of the upload, relative to the root of the server: "
        "`upload-<uuid>/<name>`. Slashes may be written as they are or as %2F.",
        examples=["upload-6f1c9f3e-1c1e-4b5e-9d2c-0a8f5c1d2e3f/slide.svs"],
    ),
]
"""Any text: what can't name an image is an image that was not found, whatever lies there."""
