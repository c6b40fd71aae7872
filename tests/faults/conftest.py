"""Images that need every step of an import, and the command that imports them."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pims.files.layout import UploadDirectory
from pims.files.manifest import Manifest
from pims.images.histogram import read_histogram
from pims.importer.extract import digest_of

REPOSITORY = Path(__file__).parents[2]
PR_CAPBSET_DROP = 24
OVERRIDES = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what lets root read and write everything."""


def write_strips(path: Path) -> Path:
    """Is converted."""
    pixels = np.random.default_rng(1).integers(0, 255, (1100, 1100), dtype=np.uint8)
    tifffile.imwrite(path, pixels, rowsperstrip=64, metadata=None)
    return path


def write_tiles(path: Path) -> Path:
    """Is served as it is, with overviews."""
    pixels = np.random.default_rng(2).integers(0, 255, (1100, 1100), dtype=np.uint8)
    with tifffile.TiffWriter(path) as tiff:
        for level in (0, 1):
            part = pixels[:: level + 1, :: level + 1]
            tiff.write(part, tile=(256, 256), subfiletype=level, metadata=None)
    return path


@dataclass(frozen=True)
class Root:
    """Where images are imported to."""

    path: Path

    @property
    def pending(self) -> Path:
        return self.path / ".pending"

    @property
    def uploads(self) -> list[Path]:
        return sorted(self.path.glob("upload-*"))

    def assert_nothing_half_made(self) -> None:
        """Private directories are gone, and what is published is whole."""
        assert not self.pending.exists() or list(self.pending.iterdir()) == []
        for path in self.uploads:
            upload = UploadDirectory(path)
            manifest = Manifest.read(upload.manifest)
            assert upload.spatial(manifest.spatial_format).resolve().is_file()
            assert upload.original(manifest.original_format).resolve() == path / manifest.file_name
            read_histogram(upload.histogram)
            assert all(digest_of(path / name) == digest for name, digest in manifest.digests.items())


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def drop_overrides() -> None:
    """In a process that is about to start a program: root reads what its permissions say, as others do."""
    if os.geteuid() == 0:
        for capability in OVERRIDES:
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    results: dict[str, dict[str, Any]]
    """By name of the file."""
    log: str


@pytest.fixture
def pims_import(root: Root) -> Callable[..., Done]:
    """`pims import --json`, where permissions count."""

    def run(*paths: Path, **settings: str) -> Done:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = {**kept, "PYTHONPATH": str(REPOSITORY), "ROOT": str(root.path), **settings}
        done = subprocess.run(
            [sys.executable, "-m", "pims.cli", "import", "--json", *map(str, paths)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            preexec_fn=drop_overrides,
        )
        results = [json.loads(line) for line in done.stdout.splitlines()]
        return Done(done.returncode, {Path(result["source"]).name: result for result in results}, done.stderr)

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 5 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small filesystem can be mounted by root only")
    yield path
    subprocess.run(["umount", str(path)], check=True)
