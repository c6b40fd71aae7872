"""Imports, step by step, in this process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pims.errors import StorageError
from pims.files.claim import remove_abandoned
from pims.files.manifest import Manifest
from pims.formats.registry import FormatRegistry
from pims.images.histogram import HistogramType, read_histogram
from pims.importer import flow
from pims.importer.events import ImportEvent, ImportListener, ImportResult, ImportStatus, ImportStep
from pims.importer.flow import ImportOptions, import_file
from pims.model.metadata import ImageMetadata


class Importing:
    """Imports what it is given and says what is on the disk afterwards."""

    def __init__(self, options: ImportOptions, registry: FormatRegistry, listener: ImportListener) -> None:
        self.options, self.registry, self.listener = options, registry, listener

    def __call__(self, source: Path, **changes: Any) -> ImportResult:
        return import_file(source, replace(self.options, **changes), self.registry, self.listener)

    @property
    def uploads(self) -> list[Path]:
        return sorted(self.options.root.glob("upload-*"))

    def assert_nothing_half_made(self) -> None:
        pending = self.options.pending
        assert not pending.exists() or list(pending.iterdir()) == []
        for upload in self.uploads:
            assert Manifest.read(upload / "processed" / "manifest.json").uuid in upload.name


@pytest.fixture
def importing(options: ImportOptions, registry: FormatRegistry, recorder: Any) -> Importing:
    return Importing(options, registry, recorder)


@pytest.fixture
def source(tmp_path: Path, toys: Any) -> Path:
    path = tmp_path / "My slide (1) é.toy"
    path.write_bytes(toys.Toy(warning="Something to know.").as_bytes())
    return path


def test_an_image_is_published_with_relative_links_and_a_manifest(
    importing: Importing, source: Path, recorder: Any
) -> None:
    before = source.read_bytes()
    result = importing(source)

    (upload,) = importing.uploads
    assert result.status is ImportStatus.DEPLOYED
    assert result.path == f"{upload.name}/My-slide--1--é.toy"
    assert result.warnings == ("Something to know.",)
    assert (importing.options.root / str(result.path)).read_bytes() == before == source.read_bytes()
    processed = upload / "processed"
    assert str((processed / "original.TOY").readlink()) == "../My-slide--1--é.toy"
    assert str((processed / "visualisation.TOY").readlink()) == "original.TOY"
    assert (processed / "visualisation.TOY").read_bytes() == before
    assert sorted(path.name for path in upload.iterdir()) == ["My-slide--1--é.toy", "processed"]
    assert sorted(path.name for path in processed.iterdir()) == [
        "histogram",
        "manifest.json",
        "original.TOY",
        "visualisation.TOY",
    ]
    manifest = Manifest.read(processed / "manifest.json")
    assert manifest.origin.name == source.name
    assert manifest.origin.digest == hashlib.sha256(before).hexdigest()
    assert manifest.origin.size == len(before)
    assert (manifest.original_format, manifest.spatial_format, manifest.conversion) == ("TOY", "TOY", None)
    assert ImageMetadata.from_dict(manifest.metadata).width == 300
    histogram = (processed / "histogram").read_bytes()
    assert manifest.digests == {"processed/histogram": hashlib.sha256(histogram).hexdigest()}
    importing.assert_nothing_half_made()
    assert recorder.steps() == [
        "extracting data started",
        "extracting data done",
        "detecting format started",
        "detecting format done",
        "checking integrity started",
        "checking integrity done",
        "computing histogram started",
        "computing histogram done",
        "deploying started",
        "deploying done",
    ]


def test_the_root_can_be_moved(importing: Importing, source: Path, tmp_path: Path) -> None:
    result = importing(source)
    importing.options.root.rename(tmp_path / "elsewhere")
    upload = tmp_path / "elsewhere" / str(result.path).split("/")[0]
    assert (upload / "processed" / "visualisation.TOY").read_bytes() == source.read_bytes()


def test_the_result_as_json_has_exactly_the_documented_keys(importing: Importing, source: Path) -> None:
    values = importing(source).as_dict()
    assert list(values) == ["source", "path", "format", "status", "step", "error"]
    assert json.loads(json.dumps(values))["status"] == "DEPLOYED"
    assert values["step"] == "DEPLOYING"


def test_an_image_that_is_slow_to_read_is_converted_with_the_same_pixels(
    importing: Importing, toys: Any, tmp_path: Path, registry: FormatRegistry
) -> None:
    import tifffile

    toy = toys.Toy(width=700, height=500, conversion=True)
    source = tmp_path / "slow.toy"
    source.write_bytes(toy.as_bytes())
    result = importing(source)

    assert (result.status, result.error) == (ImportStatus.DEPLOYED, None)
    (upload,) = importing.uploads
    converted = upload / "processed" / "visualisation.PYRTIFF"
    assert converted.is_file()
    assert not converted.is_symlink()
    assert (tifffile.imread(converted, key=0) == toy.pixels()[0, 0, 0]).all()
    manifest = Manifest.read(upload / "processed" / "manifest.json")
    assert (manifest.original_format, manifest.spatial_format) == ("TOY", "PYRTIFF")
    assert manifest.conversion is not None
    assert manifest.conversion["codec"] == "zstd"
    digest = hashlib.sha256(converted.read_bytes()).hexdigest()
    assert manifest.digests["processed/visualisation.PYRTIFF"] == digest
    importing.assert_nothing_half_made()


def test_a_format_may_convert_by_itself(importing: Importing, toys: Any, tmp_path: Path) -> None:
    source = tmp_path / "native.toy"
    source.write_bytes(b"TOY2" + toys.Toy().as_bytes()[4:])
    result = importing(source)
    assert (result.status, result.format) == (ImportStatus.DEPLOYED, "NATIVETOY")
    assert (importing.uploads[0] / "processed" / "visualisation.TOY").read_bytes().startswith(b"TOY1")


@pytest.mark.parametrize("behaviour", ["bad-conversion", "bug", "limit"])
def test_a_failed_conversion_is_reported_as_one(
    importing: Importing, toys: Any, tmp_path: Path, behaviour: str
) -> None:
    source = tmp_path / "native.toy"
    source.write_bytes(b"TOY2" + toys.Toy(behaviour=behaviour, where="never").as_bytes()[4:])
    result = importing(source)
    assert (result.status, result.step) == (ImportStatus.ERROR_CONVERSION, ImportStep.CONVERTING)
    assert importing.uploads == []
    importing.assert_nothing_half_made()


@pytest.mark.parametrize(
    ("content", "status", "step", "words"),
    [
        (b"", ImportStatus.ERROR_FORMAT, ImportStep.DETECTING_FORMAT, "empty"),
        (b"plain text", ImportStatus.ERROR_FORMAT, ImportStep.DETECTING_FORMAT, "none of the formats"),
        (b"TOY1{}", ImportStatus.ERROR_INTEGRITY, ImportStep.CHECKING_INTEGRITY, "too early"),
        (b"TOY1[", ImportStatus.ERROR_INTEGRITY, ImportStep.CHECKING_INTEGRITY, "header is damaged"),
        (b"II*\0\xff\xff\0\0", ImportStatus.ERROR_FORMAT, ImportStep.DETECTING_FORMAT, "too early"),
    ],
)
def test_a_file_that_is_no_image_leaves_nothing(
    importing: Importing, tmp_path: Path, content: bytes, status: str, step: str, words: str
) -> None:
    source = tmp_path / "bad"
    source.write_bytes(content)
    result = importing(source)
    assert (result.status, result.step, result.path) == (status, step, None)
    assert words in str(result.error)
    assert importing.uploads == []
    importing.assert_nothing_half_made()


@pytest.mark.parametrize(
    ("behaviour", "status", "words"),
    [
        ("corrupt", ImportStatus.ERROR_INTEGRITY, "The pixels are damaged."),
        ("unsupported", ImportStatus.ERROR_FORMAT, "This is too new."),
        ("limit", ImportStatus.ERROR_INTEGRITY, "This is too much."),
        ("disk", ImportStatus.ERROR_DEPLOYMENT, "The disk refused image: Input/output error"),
        (
            "bug",
            ImportStatus.ERROR_INTEGRITY,
            "unexpected error (KeyError: 'colour') during checking integrity",
        ),
        ("wrong-shape", ImportStatus.ERROR_INTEGRITY, "(3, 3, 3), where"),
        ("wrong-type", ImportStatus.ERROR_INTEGRITY, "int32, where uint8 was promised"),
        ("nan", ImportStatus.ERROR_INTEGRITY, "can't be stored"),
    ],
)
def test_what_a_reader_does_wrong_is_found_before_publishing(
    importing: Importing, toys: Any, tmp_path: Path, behaviour: str, status: str, words: str
) -> None:
    source = tmp_path / "bad.toy"
    source.write_bytes(toys.Toy(behaviour=behaviour).as_bytes())
    result = importing(source)
    assert result.status == status
    assert words in str(result.error)
    assert result.step is ImportStep.CHECKING_INTEGRITY
    assert importing.uploads == []
    importing.assert_nothing_half_made()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"samples": 1, "channels": 3}, "3 channels"),
        ({"samples": 2}, "2 samples"),
        ({"samples": 4}, "4 samples"),
        ({"dtype": "float16", "bits": 8}, "float16"),
    ],
    ids=str,
)
def test_what_could_not_be_shown_is_refused_with_a_reason(
    importing: Importing, toys: Any, tmp_path: Path, fields: Any, words: str
) -> None:
    source = tmp_path / "more.toy"
    source.write_bytes(toys.Toy(**fields).as_bytes())
    result = importing(source)
    assert result.status is ImportStatus.ERROR_FORMAT
    assert words in str(result.error) and "; save" in str(result.error)
    assert importing.uploads == []
    importing.assert_nothing_half_made()


def test_the_private_directory_is_claimed_while_it_is_worked_in(
    importing: Importing, source: Path, tmp_path: Path
) -> None:
    swept: list[ImportStep] = []

    class Sweeping:
        def notify(self, event: ImportEvent) -> None:
            remove_abandoned(importing.options.pending)
            swept.append(event.step)

    importing.listener = Sweeping()
    assert importing(source).status is ImportStatus.DEPLOYED
    assert ImportStep.DEPLOYING in swept
    assert sorted(path.name for path in importing.uploads[0].iterdir()) == [
        "My-slide--1--é.toy",
        "processed",
    ]


def test_a_pending_folder_that_is_root_itself_keeps_the_image(importing: Importing, source: Path) -> None:
    result = importing(source, pending=importing.options.root)
    assert result.status is ImportStatus.DEPLOYED
    remove_abandoned(importing.options.root)
    assert (importing.options.root / str(result.path)).exists()


def test_a_bug_is_logged_with_its_traceback(
    importing: Importing, toys: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "bug.toy"
    source.write_bytes(toys.Toy(behaviour="bug").as_bytes())
    importing(source)
    assert "KeyError" in caplog.text
    assert "misbehave" in caplog.text


@pytest.mark.parametrize("behaviour", ["corrupt", "wrong-shape"])
def test_every_plane_is_read(importing: Importing, toys: Any, tmp_path: Path, behaviour: str) -> None:
    toy = toys.Toy(samples=1, depth=2, duration=2, behaviour=behaviour, where="planes")
    source = tmp_path / "planes.toy"
    source.write_bytes(toy.as_bytes())
    assert importing(source).status is ImportStatus.ERROR_INTEGRITY
    importing.assert_nothing_half_made()


def test_running_out_of_memory_says_which_setting_helps(
    importing: Importing, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def eat(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(flow, "check_integrity", eat)
    result = importing(source)
    assert result.status is ImportStatus.ERROR_INTEGRITY
    assert "IMPORT_MEMORY_LIMIT" in str(result.error)
    importing.assert_nothing_half_made()


def test_a_keyboard_interrupt_cleans_up_and_goes_on_up(importing: Importing, source: Path) -> None:
    class Interrupting:
        def notify(self, event: ImportEvent) -> None:
            if event.step is ImportStep.CHECKING_INTEGRITY:
                raise KeyboardInterrupt

    importing.listener = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        importing(source)
    assert importing.uploads == []
    importing.assert_nothing_half_made()


def test_the_same_file_is_not_imported_twice(importing: Importing, source: Path) -> None:
    first = importing(source)
    again = importing(source)
    assert again.status is ImportStatus.SKIPPED
    assert (again.path, again.format, again.error) == (first.path, "TOY", None)
    assert len(importing.uploads) == 1


def test_another_name_or_another_content_is_another_image(
    importing: Importing, source: Path, tmp_path: Path
) -> None:
    importing(source)
    content = bytearray(source.read_bytes())
    content[-1] ^= 1
    other = tmp_path / "sub" / source.name
    other.parent.mkdir()
    other.write_bytes(content)
    assert importing(other).status is ImportStatus.DEPLOYED
    assert importing(source, name="another.toy").status is ImportStatus.DEPLOYED
    assert len(importing.uploads) == 3


def test_a_source_is_digested_for_skipping_only_when_name_and_size_agree(
    importing: Importing, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digested: list[Path] = []

    def digest(path: Path) -> str:
        digested.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(flow, "digest_of", digest)
    importing(source)
    assert source not in digested
    importing(source)
    assert source in digested


def test_an_image_whose_manifest_was_damaged_is_imported_again(importing: Importing, source: Path) -> None:
    importing(source)
    (importing.uploads[0] / "processed" / "manifest.json").write_text("{")
    assert importing(source).status is ImportStatus.DEPLOYED


def test_a_name_that_is_no_text_is_imported(importing: Importing, toys: Any, tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"sl\xefde.toy")
    source.write_bytes(toys.Toy().as_bytes())
    result = importing(source)
    assert result.status is ImportStatus.DEPLOYED
    assert str(result.path).endswith("/sl?de.toy") or "sl" in str(result.path)
    assert importing(source).status is ImportStatus.SKIPPED


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe"])
def test_only_regular_files_are_taken(importing: Importing, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "thing"
    if kind == "directory":
        source.mkdir()
    elif kind == "pipe":
        os.mkfifo(source)
    result = importing(source)
    assert (result.status, result.step) == (ImportStatus.ERROR_DEPLOYMENT, ImportStep.EXTRACTING_DATA)
    assert "thing" in str(result.error)
    importing.assert_nothing_half_made()


def test_a_directory_that_is_taken_is_left_alone(importing: Importing, source: Path) -> None:
    taken = importing.options.pending / "upload-x"
    taken.mkdir(parents=True)
    result = importing(source, directory="upload-x")
    assert result.status is ImportStatus.ERROR_DEPLOYMENT
    assert taken.is_dir()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EXDEV, errno.EROFS])
def test_a_disk_that_refuses_is_told_with_advice(
    importing: Importing, source: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(flow, "fsync_path", refuse)
    result = importing(source)
    assert (result.status, result.step) == (ImportStatus.ERROR_DEPLOYMENT, ImportStep.DEPLOYING)
    assert os.strerror(number) in str(result.error)
    assert ";" in str(result.error)
    assert importing.uploads == []
    importing.assert_nothing_half_made()


def test_a_stack_gets_a_histogram_of_every_channel(importing: Importing, toys: Any, tmp_path: Path) -> None:
    toy = toys.Toy(width=60, height=50, samples=3, depth=2, duration=3, dtype="uint16", bits=12)
    source = tmp_path / "stack.toy"
    source.write_bytes(toy.as_bytes())
    assert importing(source).status is ImportStatus.DEPLOYED
    stored = read_histogram(importing.uploads[0] / "processed" / "histogram")
    pixels = toy.pixels()
    assert stored.type is HistogramType.COMPLETE
    assert stored.channel_counts.shape == (3, 4096)
    for channel in range(3):
        values = pixels[:, :, 0, :, :, channel]
        assert stored.channel_bounds()[channel] == (values.min(), values.max())
        for intensity in (0, 1, 4095):
            assert stored.channel_counts[channel, intensity] == (values == intensity).sum()
    plane = pixels[2, 1, 0, :, :, 0]
    assert stored.plane_bounds[2, 1, 0].tolist() == [plane.min(), plane.max()]


def test_a_damaged_copy_is_a_storage_error_of_the_import(
    importing: Importing, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, max_pixels: int) -> None:
        raise StorageError("The copy vanished.")

    monkeypatch.setattr(flow, "import_histogram", fail)
    result = importing(source)
    assert (result.status, result.error) == (ImportStatus.ERROR_DEPLOYMENT, "The copy vanished.")
    importing.assert_nothing_half_made()
