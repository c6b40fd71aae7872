"""Samples imported once for all tests, in real processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pims.formats.abstract import ReadContext
from pims.formats.registry import discover_formats
from pims.images.image import OpenedImage
from pims.images.opener import Opener
from pims.importer.events import ImportResult
from pims.importer.flow import ImportOptions
from pims.model.limits import Limits
from pims.tasks.local import ImportProcesses
from pims.tasks.protocol import ProcessLimits

SECONDS = 60
"""That an import may take here; the machine may be busy."""
MAX_PIXELS = 100_000_000
"""Of what is decoded as a whole: no sample needs more, but for a bomb."""


@dataclass(frozen=True)
class Collection:
    """Files that were imported and what came of them."""

    root: Path
    pending: Path
    results: dict[Path, ImportResult]

    @contextmanager
    def opened(self, path: Path) -> Iterator[OpenedImage]:
        """The image that a file became."""
        upload = self.results[path].path
        assert upload is not None
        opener = Opener(self.root, discover_formats(), ReadContext())
        directory, manifest, _, _ = opener.resolve(upload)
        image = opener.open(directory, manifest)
        try:
            yield image
        finally:
            image.close()


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> object:
    """`imported(paths)` is a Collection."""

    def run(paths: list[Path]) -> Collection:
        root = tmp_path_factory.mktemp("root")
        options = ImportOptions(root, root / ".pending", Limits(max_decode_pixels=MAX_PIXELS))
        with ImportProcesses(options, ProcessLimits(seconds=SECONDS)) as processes:
            futures = {path: processes.submit(path) for path in paths}
            results = {path: future.result() for path, future in futures.items()}
        return Collection(root, options.pending, results)

    return run
