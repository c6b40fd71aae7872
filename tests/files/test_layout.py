"""Names and places of uploads: nothing a client sends leads anywhere else."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pims.errors import ImageNotFound
from pims.files.layout import (
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    UploadDirectory,
    is_name,
    sanitized_name,
    split_path,
)

ROOT = Path("/srv/uploads")
pieces = st.sampled_from(
    ["upload-", "upload-1", "..", ".", "/", "//", "\\", "\0", "\n", "%2e", "a.svs", "~", " "]
)
names = st.text(max_size=300) | st.lists(pieces, max_size=8).map("".join)
any_text = st.text(st.characters(exclude_categories=[]), max_size=60)  # lone surrogates, too


@given(names | names.map("upload-1/{}".format) | any_text)
@example("upload-1/../../etc/passwd")
@example("upload-1/a/../b")
@example("upload-1//etc/passwd")
@example("upload-1/a\\..\\b")
@example("upload-1/" + "a/" * 600 + "b")
@example("upload-/a")
@example("upload-\0/a")
@example("upload-1/\udc80")
@example("")
def test_a_path_never_leads_out_of_its_upload(filepath: str) -> None:
    try:
        name, inside = split_path(filepath)
    except ImageNotFound:
        return
    assert f"{name}/{inside}" == filepath
    assert name.startswith("upload-") and "/" not in name
    place = ROOT / name / inside
    assert Path(os.path.normpath(place)) == place
    assert place.is_relative_to(ROOT / name) and place != ROOT / name
    assert not re.search(r"[\x00-\x1f\x7f\\]", filepath)
    assert len(os.fsencode(filepath)) <= MAX_PATH_BYTES
    assert all(0 < len(part) <= 255 for part in filepath.split("/"))


@pytest.mark.parametrize(
    "filepath",
    [
        "upload-1/slide.svs",
        "upload-1/processed/visualisation.PYRTIFF",
        "upload-1/Grüße 病理.tif",
        "upload-x/..a",
    ],
)
def test_the_paths_of_images_are_split(filepath: str) -> None:
    name, _, inside = filepath.partition("/")
    assert split_path(filepath) == (name, inside)


@pytest.mark.parametrize(
    "filepath",
    ["slide.svs", "upload-1", "upload-1/", "/upload-1/a", "other/a", "upload-1/a/", "upload-1/./a",
     "./upload-1/a", "upload-1/..", "../upload-1/a", "upload-1/a\n", "upload-1/\x7f",
     "upload-1/" + "a" * 256],
)  # fmt: skip
def test_other_paths_are_no_images(filepath: str) -> None:
    with pytest.raises(ImageNotFound):
        split_path(filepath)


@given(names | any_text)
@example("..")
@example("processed")
@example("a/processed")
@example("." * 300)
@example("-" * 300)
@example("a" * 300 + ".ome.tiff")
@example("病" * 200 + ".svs")
@example("x." + "y" * 300)
@example("a" * 199 + "." + "b" * 30)
@example(".-" * 120)
@example("C:\\slides\\a b.svs")
@example("\ud800.svs")
def test_a_sanitized_name_is_safe_and_stays_what_it_is(name: str) -> None:
    safe = sanitized_name(name)
    assert sanitized_name(safe) == safe
    assert safe not in ("", ".", "..", "processed")
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert not re.search(r"[\x00-\x20\x7f/\\<>:|?*\"'#%&;]", safe)
    assert not safe.startswith(".") and not safe.endswith(".")
    assert split_path(f"upload-1/{safe}") == ("upload-1", safe)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("slide.svs", "slide.svs"),
        ("My slide (1).ndpi", "My-slide--1-.ndpi"),
        ("../../etc/passwd", "passwd"),
        ("C:\\slides\\HE_1.tif", "HE_1.tif"),
        ("Gewebe-Ä.tiff", "Gewebe-Ä.tiff"),
        ("组织.svs", "组织.svs"),
        ("...", "image-unnamed"),
        ("", "image-unnamed"),
        ("processed", "image-processed"),
        (".hidden", "hidden"),
    ],
)
def test_names_are_kept_as_far_as_they_are_safe(name: str, safe: str) -> None:
    assert sanitized_name(name) == safe


@given(st.integers(1, 150), st.sampled_from([".svs", ".ome.tiff", ".ndpi"]), st.sampled_from("aé病"))
def test_a_long_name_keeps_its_extension(length: int, extension: str, letter: str) -> None:
    safe = sanitized_name(letter * length * 3 + extension)
    assert safe.endswith(extension.rpartition(".")[2]) and len(safe.encode()) <= MAX_NAME_BYTES


@given(names | any_text)
@example("a\0")
@example("\ud800")
@example("病" * 86)
@example("a/b")
def test_a_name_is_what_a_file_can_be_called(name: str) -> None:
    text = not any(0xD800 <= ord(char) <= 0xDFFF for char in name)
    wrong = name in ("", ".", "..") or "/" in name or "\0" in name or not text
    assert is_name(name) == (not wrong and len(name.encode()) <= 255)
    assert is_name(sanitized_name(name))
    assert not is_name(name.encode("utf-8", "replace"))


def test_an_upload_knows_its_places(tmp_path: Path) -> None:
    upload = UploadDirectory.new(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", upload.uuid)
    assert upload.path == tmp_path / f"upload-{upload.uuid}" and not upload.path.exists()
    places = [upload.manifest, upload.histogram, upload.original("SVS"), upload.spatial("PYRTIFF")]
    assert [place.name for place in places] == [
        "manifest.json", "histogram", "original.SVS", "visualisation.PYRTIFF"
    ]  # fmt: skip
    assert {place.parent for place in places} == {upload.processed}
    assert UploadDirectory.new(tmp_path) != upload
