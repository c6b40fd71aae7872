"""Files made of bytes and opened as a format."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat, ReadContext

Opened = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """`with opened(XYZFormat, data) as image`: a file of these bytes (or at this path), opened."""
    folder = tmp_path_factory.mktemp("opened")
    numbers = itertools.count()

    @contextmanager
    def open_as(
        format_class: type[AbstractFormat], data: bytes | Path, context: ReadContext | None = None
    ) -> Iterator[AbstractFormat]:
        path = data if isinstance(data, Path) else folder / str(next(numbers))
        if not isinstance(data, Path):
            path.write_bytes(data)
        try:
            with LocalSource(path) as source, format_class(source, context=context) as image:
                yield image
        finally:
            if not isinstance(data, Path):
                path.unlink()

    return open_as
