"""Damaged uploads are found, named, and repaired without touching an original."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pims.files.layout import UploadDirectory
from pims.files.manifest import Manifest
from pims.formats.abstract import ReadContext
from pims.formats.common import FORMATS
from pims.formats.registry import FormatRegistry
from pims.images.opener import Opener
from pims.images.render import ThumbRequest, render
from pims.importer import inspection
from pims.importer.events import ImportListener
from pims.importer.flow import ImportOptions, import_file
from pims.importer.inspection import Finding, Inspector, Remedy
from pims.importer.repair import Repairer
from pims.processing.request import DisplaySettings

OPTIONS = ImportOptions(Path(), Path())
"""Nothing is imported."""
Damage = Callable[[UploadDirectory], None]


@pytest.fixture(params=["native", "converted"])
def upload(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    options: ImportOptions,
    registry: FormatRegistry,
    recorder: ImportListener,
) -> UploadDirectory:
    path = tmp_path / "a slide.tif"
    pixels = np.random.default_rng(1).integers(0, 255, (1200, 1200), dtype=np.uint8)
    with tifffile.TiffWriter(path) as tiff:
        if request.param == "converted":
            tiff.write(pixels, rowsperstrip=64, metadata=None)
        else:
            for level in (0, 1):
                part = pixels[:: level + 1, :: level + 1]
                tiff.write(part, tile=(256, 256), subfiletype=level, metadata=None)
    result = import_file(path, options, registry, recorder)
    directory = UploadDirectory(options.root / str(result.path).partition("/")[0])
    assert directory.overviews.exists() == (request.param == "native")
    return directory


@pytest.fixture
def inspector(registry: FormatRegistry) -> Inspector:
    return Inspector(registry, ReadContext(), digests=True)


@pytest.fixture
def inspect(inspector: Inspector, options: ImportOptions) -> Callable[[], list[Finding]]:
    return lambda: list(inspector.root(options.root, options.pending))


Inspect = Callable[[], list[Finding]]


def thumb(upload: UploadDirectory, registry: FormatRegistry) -> bytes:
    opener = Opener(upload.path.parent, registry, ReadContext())
    image = opener.open(upload, opener.read_manifest(upload))
    try:
        return render(image, ThumbRequest(200, 200, DisplaySettings(), "image/png"))
    finally:
        image.close()


def no_manifest(upload: UploadDirectory) -> None:
    upload.manifest.unlink()


def cut_manifest(upload: UploadDirectory) -> None:
    os.truncate(upload.manifest, 100)


def foreign_manifest(upload: UploadDirectory) -> None:
    values = json.loads(upload.manifest.read_text())
    upload.manifest.write_text(json.dumps({**values, "uuid": "of-another"}))


def metadata_of_nothing(upload: UploadDirectory) -> None:
    values = json.loads(upload.manifest.read_text())
    upload.manifest.write_text(json.dumps({**values, "metadata": {"width": "wide"}}))


def no_histogram(upload: UploadDirectory) -> None:
    upload.histogram.unlink()


def noise_for_histogram(upload: UploadDirectory) -> None:
    upload.histogram.write_bytes(b"noise")


def histogram_of_an_older_server(upload: UploadDirectory) -> None:
    upload.histogram.unlink()
    upload.histogram.mkdir()
    (upload.histogram / "image.npy").write_bytes(b"theirs")


def no_link(upload: UploadDirectory) -> None:
    upload.original("PYRTIFF").unlink(missing_ok=True)
    upload.original("PLANARTIFF").unlink(missing_ok=True)


def link_out(upload: UploadDirectory) -> None:
    (link,) = upload.processed.glob("original.*")
    link.unlink()
    link.symlink_to("/etc/passwd")


def link_round(upload: UploadDirectory) -> None:
    (link,) = upload.processed.glob("original.*")
    link.unlink()
    link.symlink_to(link.name)


@pytest.mark.parametrize(
    "damage",
    [
        no_manifest,
        cut_manifest,
        foreign_manifest,
        metadata_of_nothing,
        no_histogram,
        noise_for_histogram,
        histogram_of_an_older_server,
        no_link,
        link_out,
        link_round,
    ],
)
def test_what_can_be_made_again_is(
    upload: UploadDirectory, inspect: Inspect, inspector: Inspector, registry: FormatRegistry, damage: Damage
) -> None:
    assert inspect() == []
    before = thumb(upload, registry)
    (original,) = upload.path.glob("*.tif")
    status, content = original.stat(), original.read_bytes()
    damage(upload)
    findings = inspect()
    assert findings
    assert all(finding.can_be_repaired for finding in findings)
    assert all("pims check --repair" in str(finding) for finding in findings)

    assert Repairer(inspector, OPTIONS).repair(upload.path, findings) == []
    assert inspect() == []
    assert original.read_bytes() == content
    assert (original.stat().st_ino, original.stat().st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    assert thumb(upload, registry) == before
    assert Path("/etc/passwd").exists()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [Path.unlink, cut, flip])
@pytest.mark.parametrize("upload", ["native"], indirect=True)
def test_overviews_are_written_again(
    upload: UploadDirectory,
    inspect: Inspect,
    inspector: Inspector,
    registry: FormatRegistry,
    damage: Callable[[Path], None],
) -> None:
    content, before = upload.overviews.read_bytes(), thumb(upload, registry)
    damage(upload.overviews)
    findings = inspect()
    assert Remedy.OVERVIEWS in [finding.remedy for finding in findings]
    assert Repairer(inspector, OPTIONS).repair(upload.path, findings) == []
    assert upload.overviews.read_bytes() == content
    assert thumb(upload, registry) == before
    assert Manifest.read(upload.manifest).revision > 1


@pytest.mark.parametrize("upload", ["native"], indirect=True)
def test_overviews_that_were_never_written_are_missed_only_when_that_is_asked(
    upload: UploadDirectory, inspect: Inspect, registry: FormatRegistry
) -> None:
    values = json.loads(upload.manifest.read_text())
    del values["digests"]["processed/overviews"]
    upload.manifest.write_text(json.dumps(values))
    upload.overviews.unlink()
    assert inspect() == []
    inspector = Inspector(registry, ReadContext(), complete=True)
    findings = list(inspector.upload(upload))
    assert [finding.remedy for finding in findings] == [Remedy.OVERVIEWS]
    assert Repairer(inspector, OPTIONS).repair(upload.path, findings) == []
    assert upload.overviews.exists()


@pytest.mark.parametrize("damage", [Path.unlink, cut, flip])
def test_a_damaged_original_is_named_and_left_as_it_is(
    upload: UploadDirectory, inspect: Inspect, inspector: Inspector, damage: Callable[[Path], None]
) -> None:
    (original,) = upload.path.glob("*.tif")
    damage(original)
    left = original.read_bytes() if original.exists() else None
    findings = inspect()
    assert [finding.remedy for finding in findings] == [Remedy.IMPORT_AGAIN]
    assert "import the image again" in str(findings[0])
    assert Repairer(inspector, OPTIONS).repair(upload.path, findings) == findings
    assert (original.read_bytes() if original.exists() else None) == left


@pytest.mark.parametrize("upload", ["converted"], indirect=True)
def test_a_lost_conversion_needs_another_import(upload: UploadDirectory, inspect: Inspect) -> None:
    upload.spatial("PYRTIFF").unlink()
    (finding,) = inspect()
    assert finding.remedy is Remedy.IMPORT_AGAIN
    assert "visualisation.PYRTIFF" in finding.sentence


@pytest.mark.parametrize("upload", ["converted"], indirect=True)
def test_without_manifest_and_conversion_nothing_is_made_up(
    upload: UploadDirectory, inspect: Inspect, inspector: Inspector
) -> None:
    upload.spatial("PYRTIFF").unlink()
    upload.manifest.unlink()
    left = Repairer(inspector, OPTIONS).repair(upload.path, inspect())
    assert any("can't be repaired" in finding.sentence for finding in left)
    assert not upload.manifest.exists()


@pytest.mark.parametrize("upload", ["native"], indirect=True)
def test_two_files_of_which_either_may_be_the_original_are_left_alone(
    upload: UploadDirectory, inspect: Inspect, inspector: Inspector
) -> None:
    (original,) = upload.path.glob("*.tif")
    shutil.copy(original, upload.path / "other.tif")
    upload.manifest.unlink()
    left = Repairer(inspector, OPTIONS).repair(upload.path, inspect())
    assert any("2 files" in finding.sentence for finding in left)
    assert (upload.path / "other.tif").exists()


@pytest.mark.parametrize("upload", ["native"], indirect=True)
def test_what_a_killed_import_left_is_named_and_removed(
    upload: UploadDirectory, inspect: Inspect, inspector: Inspector, options: ImportOptions
) -> None:
    program = (
        "import os, sys; from pathlib import Path; from pims.files.claim import Claim;"
        "Claim(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    left = UploadDirectory.new(options.pending).path
    subprocess.run([sys.executable, "-c", program, str(left)], check=False)
    (finding,) = inspect()
    assert (finding.directory, finding.remedy) == (left, Remedy.PENDING)
    assert Repairer(inspector, OPTIONS).repair(left, [finding]) == []
    assert not left.exists()


@pytest.mark.parametrize("upload", ["native"], indirect=True)
def test_names_that_are_no_directories_are_told(
    upload: UploadDirectory, inspect: Inspect, options: ImportOptions
) -> None:
    (options.root / "upload-file").touch()
    (options.root / "upload-link").symlink_to(upload.path)
    assert {finding.directory.name for finding in inspect()} == {"upload-file", "upload-link"}


UNTRUSTED = """
from pims_plugin_format_toy import ToyFormat, ToyParser, ToyReader

MAY_READ_HERE = True

class UntrustedParser(ToyParser):
    def parse_main_metadata(self):
        assert MAY_READ_HERE
        return super().parse_main_metadata()

class UntrustedReader(ToyReader):
    trusted = False
    def read_region(self, tier, region, plane, reduction=1):
        assert MAY_READ_HERE
        return super().read_region(tier, region, plane, reduction)

class UntrustedFormat(ToyFormat):
    parser_class, reader_class = UntrustedParser, UntrustedReader
"""


@pytest.fixture
def untrusted(tmp_path: Path, toys: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module with a format whose images may not be read in the process of a check."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "untrusted_toy.py").write_text(UNTRUSTED)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(toys.__file__).parents[1])]))
    monkeypatch.delitem(sys.modules, "untrusted_toy", raising=False)
    return importlib.import_module("untrusted_toy")


@pytest.mark.parametrize("damage", [no_manifest, no_histogram, noise_for_histogram])
@pytest.mark.parametrize("conversion", [False, True])
def test_untrusted_formats_are_checked_and_repaired_in_another_process(
    tmp_path: Path,
    toys: Any,
    untrusted: Any,
    options: ImportOptions,
    recorder: ImportListener,
    damage: Damage,
    conversion: bool,
) -> None:
    path = tmp_path / "slide.toy"
    path.write_bytes(toys.Toy(conversion=conversion).as_bytes())
    registry = FormatRegistry([untrusted.UntrustedFormat, *FORMATS])
    result = import_file(path, options, registry, recorder)
    upload = UploadDirectory(options.root / str(result.path).partition("/")[0])
    before, counts = Manifest.read(upload.manifest), upload.histogram.read_bytes()

    untrusted.MAY_READ_HERE = False
    inspector = Inspector(registry, ReadContext(), digests=True)
    assert list(inspector.upload(upload)) == []
    damage(upload)
    findings = list(inspector.upload(upload))
    assert findings
    assert Repairer(inspector, OPTIONS).repair(upload.path, findings) == []
    after = Manifest.read(upload.manifest)
    assert (after.original_format, after.spatial_format) == (before.original_format, before.spatial_format)
    assert (after.metadata, after.digests) == (before.metadata, before.digests)
    assert (after.conversion is None) == (not conversion)
    assert upload.histogram.read_bytes() == counts


@pytest.mark.parametrize("where", ["metadata", "tile"])
def test_what_nobody_expects_of_a_reader_is_told(
    tmp_path: Path,
    toys: Any,
    options: ImportOptions,
    inspector: Inspector,
    recorder: ImportListener,
    where: str,
) -> None:
    path = tmp_path / "slide.toy"
    path.write_bytes(toys.Toy(behaviour="xxx", where=where).as_bytes())
    result = import_file(path, options, inspector.registry, recorder)
    upload = UploadDirectory(options.root / str(result.path).partition("/")[0])
    (upload.path / "slide.toy").write_bytes(toys.Toy(behaviour="bug", where=where).as_bytes())
    upload.histogram.unlink()
    findings = list(inspector.upload(upload))
    assert any("slide.toy changed since the import" in finding.sentence for finding in findings)
    left = Repairer(inspector, OPTIONS).repair(upload.path, findings)
    assert left[-1].remedy is Remedy.LOOK
    assert "can't be repaired: unexpected error (KeyError: 'colour')" in left[-1].sentence


@pytest.mark.parametrize("upload", ["native"], indirect=True)
def test_an_upload_that_can_not_be_looked_at_is_told(
    upload: UploadDirectory, inspect: Inspect, inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = upload.path.with_name(f"{upload.path.name}-other")
    other.mkdir()

    def read_histogram(path: Path) -> None:
        raise RecursionError("nobody expects it")

    monkeypatch.setattr(inspection, "read_histogram", read_histogram)
    first, second = inspect()
    assert (first.directory, first.remedy) == (upload.path, Remedy.LOOK)
    assert "can't be looked at: unexpected error (RecursionError: nobody expects it)" in first.sentence
    assert (second.directory, second.remedy) == (other, Remedy.MANIFEST)
    assert Repairer(inspector, OPTIONS).repair(upload.path, [first]) == [first]


@pytest.mark.parametrize("remade", [False, True])
def test_a_linked_processed_directory_is_told_and_nothing_behind_it_is_touched(
    upload: UploadDirectory, inspector: Inspector, inspect: Inspect, tmp_path: Path, remade: bool
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(upload.processed, elsewhere)
    upload.processed.symlink_to(elsewhere)
    for name in ("overviews.new", "visualisation.OTHER"):
        (elsewhere / name).write_text("a user's")
    if remade:
        (elsewhere / "manifest.json").unlink()
    (elsewhere / "histogram").write_text("damaged, or not ours")
    before = {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in sorted(elsewhere.iterdir())}
    (finding,) = inspect()
    assert finding.remedy is Remedy.LOOK and "link to another place" in finding.sentence
    assert Repairer(inspector, OPTIONS).repair(upload.path, [finding]) == [finding]
    # Nor when it became a link after it was looked at.
    for remedy in (Remedy.MANIFEST, Remedy.HISTOGRAM, Remedy.OVERVIEWS, Remedy.LINKS, Remedy.PENDING):
        left = Repairer(inspector, OPTIONS).repair(upload.path, [Finding(upload.path, "x", remedy)])
        assert "nothing is changed" in left[-1].sentence
    after = {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in sorted(elsewhere.iterdir())}
    assert after == before
