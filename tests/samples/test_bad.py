"""Damaged and hostile files: a reason, or the pixels that other readers show; nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFile

from pims.importer.events import ImportStatus
from pims.model.planes import FIRST_PLANE
from tests.samples.conftest import Collection
from tests.samples.independent import levels_of

FOLDERS = ("jpeg", "png", "tiff", "svs", "crafted")
SUFFIXES = (".jpg", ".png", ".tif", ".tiff", ".svs")
REFUSALS = (ImportStatus.ERROR_FORMAT, ImportStatus.ERROR_INTEGRITY)
JPEG_TOLERANCE = 1
"""Between two decoders of the same JPEG."""
CONVERSION_WORST = 64
"""Levels lost by the conversion to JPEG of what was JPEG, at a sharp coloured edge."""


def is_ours(path: Path) -> bool:
    """An extension of the core formats, or none: the names of some corpora are digests."""
    return path.suffix.lower() in SUFFIXES or (path.suffix == "" and path.parent.name != "crafted")


@pytest.fixture(scope="module")
def collection(samples: Path, imported: Callable[[list[Path]], Collection]) -> Collection:
    paths = [path for folder in FOLDERS for path in sorted((samples / "bad" / folder).iterdir())]
    return imported([path for path in paths if is_ours(path)])


def test_a_refusal_is_one_sentence_that_says_why(collection: Collection) -> None:
    assert len(collection.results) > 100
    for path, result in collection.results.items():
        if result.status.is_good:
            continue
        assert result.status in REFUSALS, (path.name, result)
        assert result.path is None
        reason = result.error or ""
        assert reason.endswith(".") and "\n" not in reason and len(reason) < 300, (path.name, reason)
        for bug in ("unexpected error", "decoder stopped", "took longer", "Error", "object"):
            assert bug not in reason, (path.name, reason)


def test_nothing_half_made_stays(collection: Collection) -> None:
    assert list(collection.pending.iterdir()) == []
    published = {str(r.path).partition("/")[0] for r in collection.results.values() if r.path}
    assert {entry.name for entry in collection.root.iterdir()} == published | {collection.pending.name}
    for upload in published:
        assert (collection.root / upload / "processed" / "manifest.json").is_file()


def test_what_is_taken_shows_what_other_readers_show(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # So that damage beside the pixels does not stop the other reader.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    caplog.set_level(logging.CRITICAL)
    for path, result in collection.results.items():
        if not result.status.is_good:
            continue
        theirs = levels_of(path)
        with collection.opened(path) as image:
            base = image.pyramid.base
            ours = image.reader.read_region(base, base.region, FIRST_PLANE)
            shown = theirs[base.width, base.height]
            assert ours.shape == shown.shape, path.name
            worst = np.abs(ours.astype(np.int64) - shown).max()
            tolerance = CONVERSION_WORST if image.manifest.conversion else JPEG_TOLERANCE
            assert worst <= (tolerance if image.metadata.lossy else 0), f"{path.name}: {worst}"
