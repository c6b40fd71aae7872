"""What an upload is, written and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
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
