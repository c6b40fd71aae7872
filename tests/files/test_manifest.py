"""What an upload is, written and read back."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pims.errors import CorruptFile, StorageError
from pims.files.manifest import LAYOUT_VERSION, Manifest, Origin

ORIGIN = Origin("Präparat 1.svs", 1234, "ab" * 32)
MANIFEST = Manifest(
    "0-1", "a.svs", ORIGIN, "SVS", "PYRTIFF", {"width": 3}, warnings=("old",), conversion={"codec": "zstd"}
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_what_is_written_is_read_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    MANIFEST.write(path)
    assert Manifest.read(path) == MANIFEST
    assert MANIFEST.layout_version == LAYOUT_VERSION
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]


def test_keys_of_a_newer_server_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    MANIFEST.write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": 1}))
    assert Manifest.read(path) == MANIFEST


def test_no_manifest_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", tmp_path / "file" / "manifest.json"):
        with pytest.raises(FileNotFoundError):
            Manifest.read(path)


DAMAGED = ["", "{", "[]", "null", "3", "{}", '{"origin": 3}', '{"origin": {}}', "\xff", "[" * 10**5]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_manifest_is_told_as_such(text: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(CorruptFile, match=r"manifest.json is damaged"):
        Manifest.read(path)


@settings(deadline=None)
@given(value=json_values)
def test_any_other_json_is_told_as_damaged(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value))
    with pytest.raises(CorruptFile):
        Manifest.read(path)


def test_a_manifest_that_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be written"):
        MANIFEST.write(tmp_path / "missing" / "manifest.json")
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(StorageError, match="can't be written"):
        MANIFEST.write(tmp_path / "manifest.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]


LONG = "a" * 400
NO_NAMES: list[object] = [
    "a\0b",
    "a\ud800",
    "",
    ".",
    "..",
    "a/b",
    "/",
    LONG,
    "\u00e9" * 200,
    None,
    3,
    ["a"],
    {},
    True,
]
NO_FORMATS: list[object] = [*NO_NAMES, "a b", "pyrtiff", "A" * 65, "A\n", "\u0410", "\u0661"]
NO_NUMBERS: list[object] = ["1", None, 1.0, True, -1, 2**63, 10**40, []]
NO_OBJECTS: list[object] = ["a", 3, [], [["a", "b"]]]
NO_DIGESTS: list[object] = [
    None,
    [],
    "",
    *({name: "ab" * 32} for name in ("a\0", "\ud800", "", "..", "/etc/passwd", "a/../../b", "a//b", LONG)),
    *({"processed/histogram": digest} for digest in ("x", "", None, 3, "AB" * 32, "ab" * 33, ["ab" * 32])),
]
WRONG: dict[str, list[object]] = {
    "file_name": NO_NAMES,
    "uuid": ["a\0b", "a\ud800", "a/b", "/../x", LONG, None, 3, []],
    "original_format": NO_FORMATS,
    "spatial_format": NO_FORMATS,
    "digests": NO_DIGESTS,
    "revision": NO_NUMBERS,
    "series": NO_NUMBERS,
    "layout_version": NO_NUMBERS,
    "format_revision": NO_NUMBERS,
    "metadata": [*NO_OBJECTS, None, {"a": "\udfff"}, {"\ud800": 1}, {"width": 10**20}, {"x": -(10**4000)}],
    "conversion": NO_OBJECTS,
    "display": [*NO_OBJECTS, None],
    "corrections": [*NO_OBJECTS, None],
    "imported_at": [None, 3, "x" * 5000, "\ud800"],
    "warnings": ["text", None, [3], [None], ["\ud800"], {}],
    "origin": [
        *NO_OBJECTS,
        None,
        *({"name": name, "size": 1, "digest": "ab" * 32} for name in (None, 3, "\ud800", "x" * 5000)),
        *({"name": "a", "size": size, "digest": "ab" * 32} for size in NO_NUMBERS),
        *({"name": "a", "size": 1, "digest": digest} for digest in (None, 3, "", "x" * 64, "ab" * 33)),
    ],
}


def written(path: Path, **changed: object) -> Path:
    """The manifest of a good upload, but for some fields."""
    MANIFEST.write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return path


@pytest.mark.parametrize(
    ("field", "number"), [(field, number) for field in WRONG for number in range(len(WRONG[field]))]
)
def test_a_field_with_an_odd_value_is_damage(tmp_path: Path, field: str, number: int) -> None:
    path = written(tmp_path / "manifest.json", **{field: WRONG[field][number]})
    with pytest.raises(
        CorruptFile, match=r"^manifest.json is damaged \(.{1,200}\); import the image again"
    ) as told:
        Manifest.read(path)
    assert str(told.value).encode()


GOOD: list[dict[str, object]] = [
    {"file_name": "Gr\u00fc\u00dfe \u75c5\u7406.tif", "uuid": "x" * 248},
    {"file_name": "a" * 255},
    {"original_format": "A_9", "spatial_format": "A" * 64},
    {"digests": {"processed/histogram": "0" * 64, "a\U0001f600/..b": "f" * 64}},
    {"metadata": {"x": [2**64 - 1, -(2**63), 1e300, {"y": {"z": "\U0001f600\0"}}]}},
    {"warnings": [], "imported_at": ""},
    {"origin": {"name": "any/name\0", "size": 0, "digest": "0" * 64}},
]


@pytest.mark.parametrize("changed", GOOD)
def test_every_value_that_is_right_is_read_and_can_be_written_again(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    manifest = Manifest.read(written(tmp_path / "manifest.json", **changed))
    manifest.write(tmp_path / "again.json")
    assert Manifest.read(tmp_path / "again.json") == manifest


@pytest.mark.parametrize("depth", [100, 400, 900, 10_000])
def test_a_deep_manifest_is_damaged(tmp_path: Path, depth: int) -> None:
    path = written(tmp_path / "manifest.json", metadata={"x": "DEEP"})
    path.write_text(path.read_text().replace('"DEEP"', '{"y":[' * depth + "]}" * depth))
    with pytest.raises(CorruptFile, match=r"manifest.json is damaged"):
        Manifest.read(path)


def test_a_giant_manifest_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(CorruptFile, match=r"damaged \(it has 1099511627776 bytes\)"):
        Manifest.read(path)


def test_surrogates_are_damage_as_bytes_too(tmp_path: Path) -> None:
    path = written(tmp_path / "manifest.json", file_name="HERE")
    path.write_bytes(path.read_bytes().replace(b"HERE", b"a\xed\xa0\x80"))
    with pytest.raises(CorruptFile, match=r"no UTF-8 text"):
        Manifest.read(path)


def test_a_name_that_is_no_text_is_told_instead_of_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no Unicode text"):
        replace(MANIFEST, file_name="a\udcff").write(tmp_path / "manifest.json")
    assert list(tmp_path.iterdir()) == []
