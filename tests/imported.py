"""Images put into a ROOT as a user would."""

from __future__ import annotations

import io
from pathlib import Path

from pims.formats.registry import discover_formats
from pims.importer.events import StdoutListener
from pims.importer.flow import ImportOptions, import_file

__all__ = ["import_slide"]


def import_slide(root: Path, path: Path) -> str:
    """Import a file in this process; gives its path in URLs."""
    options = ImportOptions(root, root / ".pending")
    result = import_file(path, options, discover_formats(), StdoutListener(io.StringIO()))
    assert result.path is not None, result.error
    return result.path
