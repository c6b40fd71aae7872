"""The formats a server knows, and which one a file is of."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pims.errors import CorruptFile, FormatNotFound, NoMatchingFormat
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractChecker, AbstractFormat, AbstractParser, AbstractReader
from pims.formats.common import FORMATS
from pims.formats.common.png import PNGFormat
from pims.formats.probe import Probe
from pims.formats.registry import FormatRegistry, discover_formats
from pims.testing.format_tests import FOREIGN_FILES

WORKING = """
from pims.formats.common.png import PNGFormat
class {name}Format(PNGFormat):
    pass
FORMATS = ({name}Format,)
"""


class AnyFileChecker(AbstractChecker):
    @classmethod
    def match(cls, probe: Probe) -> bool:
        return True


class EagerFormat(AbstractFormat):
    checker_class = AnyFileChecker
    parser_class = AbstractParser
    reader_class = AbstractReader


class LastFormat(EagerFormat):
    generic = True


class WriteOnlyFormat(EagerFormat):
    @classmethod
    def is_importable(cls) -> bool:
        return False


@pytest.fixture
def probe_of(tmp_path: Path) -> Iterator[Callable[[bytes], Probe]]:
    sources: list[LocalSource] = []

    def run(data: bytes) -> Probe:
        path = tmp_path / str(len(sources))
        path.write_bytes(data)
        sources.append(LocalSource(path))
        return Probe(sources[-1])

    yield run
    for source in sources:
        source.close()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`install(package, source)`: a package on the path, gone after the test."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(package: str, source: str, entry_point: str | None = None) -> None:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(source)
        if entry_point:
            info = tmp_path / f"{package}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[pims.formats]\n{package} = {entry_point}\n")

    yield run
    for name in set(sys.modules) - before:
        del sys.modules[name]


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(stream, kind)
    return stream.getvalue()


def plane() -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((4, 4), np.uint8))
    return stream.getvalue()


def test_generic_formats_come_last_in_the_order_given() -> None:
    registry = FormatRegistry([LastFormat, PNGFormat, EagerFormat])
    assert list(registry) == [PNGFormat, EagerFormat, LastFormat]
    assert len(registry) == 3


def test_adding_gives_another_registry() -> None:
    registry = FormatRegistry([PNGFormat])
    assert list(registry.with_formats([EagerFormat])) == [PNGFormat, EagerFormat]
    assert list(registry) == [PNGFormat]
    with pytest.raises(ValueError, match="two formats are called PNG"):
        registry.with_formats([PNGFormat])


def test_a_format_is_got_by_its_identifier_in_any_case() -> None:
    registry = FormatRegistry(FORMATS)
    assert registry.get("png") is registry.get("PNG") is PNGFormat
    with pytest.raises(FormatNotFound, match="'XYZ'"):
        registry.get("XYZ")


def test_the_first_importable_format_that_matches_is_taken(probe_of: Callable[[bytes], Probe]) -> None:
    registry = FormatRegistry([WriteOnlyFormat, LastFormat, PNGFormat])
    assert registry.identify(probe_of(picture("PNG"))) is PNGFormat
    assert registry.identify(probe_of(b"anything")) is LastFormat


@pytest.mark.parametrize(
    ("data", "identifier"), [(picture("PNG"), "PNG"), (picture("JPEG"), "JPEG"), (plane(), "PLANARTIFF")]
)
def test_files_are_known_by_their_content(
    data: bytes, identifier: str, probe_of: Callable[[bytes], Probe]
) -> None:
    assert FormatRegistry(FORMATS).identify(probe_of(data)).get_identifier() == identifier


def test_other_files_are_refused_with_what_is_read(probe_of: Callable[[bytes], Probe]) -> None:
    registry = FormatRegistry(FORMATS)
    known = [fmt.get_identifier() for fmt in registry]
    with pytest.raises(NoMatchingFormat, match="empty"):
        registry.identify(probe_of(b""))
    for name in ("text", "random bytes", "GIF", "ZIP", "PDF"):
        with pytest.raises(NoMatchingFormat, match=f"reads: {', '.join(known)}"):
            registry.identify(probe_of(FOREIGN_FILES[name]))


def test_a_broken_file_of_a_known_family_is_refused_with_the_reason(
    probe_of: Callable[[bytes], Probe],
) -> None:
    with pytest.raises(CorruptFile, match="ends too early"):
        FormatRegistry(FORMATS).identify(probe_of(plane()[:20]))


def test_a_probe_reads_the_file_once(probe_of: Callable[[bytes], Probe]) -> None:
    probe = probe_of(plane())
    assert probe.tiff is probe.tiff is not None
    assert probe.signature == plane()[:262]
    assert probe_of(b"short").signature == b"short"
    assert probe_of(b"short").tiff is None


def test_plug_ins_are_found_by_name_and_by_entry_point(install: Callable[..., None]) -> None:
    install("pims_plugin_format_one", WORKING.format(name="One"))
    install("another_package", WORKING.format(name="Two"), entry_point="another_package")
    install(
        "pims_plugin_format_both", WORKING.format(name="Both"), entry_point="pims_plugin_format_both:FORMATS"
    )
    registry = discover_formats()
    assert {"ONE", "TWO", "BOTH", "PNG", "PYRTIFF"} <= {fmt.get_identifier() for fmt in registry}
    assert registry.failures == ()


def test_formats_whose_readers_need_a_process_of_their_own_are_found(install: Callable[..., None]) -> None:
    source = """
from pims.formats.common.png import PNGFormat
class LoneReader(PNGFormat.reader_class):
    thread_safe = False
class LoneFormat(PNGFormat):
    reader_class = LoneReader
FORMATS = (LoneFormat,)
"""
    install("pims_plugin_format_lone", source)
    registry = discover_formats()
    assert registry.failures == () and not registry.get("LONE").reader_class.thread_safe


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_library_nobody_has", "ModuleNotFoundError: No module named 'a_library_nobody_has'"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("", "AttributeError: "),
        ("FORMATS = (None,)", "AttributeError: "),
        (WORKING.format(name="PNG"), "ValueError: two formats are called PNG"),
        ("def broken(:", "SyntaxError: "),
    ],
)
def test_a_plug_in_that_fails_is_named_and_stops_nobody(
    source: str, reason: str, install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    install("pims_plugin_format_broken", source)
    install("pims_plugin_format_zworking", WORKING.format(name="Working"))
    registry = discover_formats()
    (failure,) = registry.failures
    assert failure.package == "pims_plugin_format_broken" and failure.reason.startswith(reason)
    assert "pims_plugin_format_broken" in caplog.text
    assert registry.get("WORKING") and registry.get("PNG") is PNGFormat


def test_facts_about_a_format() -> None:
    facts: Any = PNGFormat
    assert (facts.get_identifier(), facts.get_identifier(uppercase=False)) == ("PNG", "PNG")
    assert EagerFormat.get_name() == "Eager" and WriteOnlyFormat.get_name() == "Write Only"
    assert PNGFormat.get_plugin_name() == "pims.formats.common"
    assert PNGFormat.is_convertible() and not EagerFormat.is_convertible()
