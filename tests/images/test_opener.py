"""Paths from outside name an image or nothing at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pims.errors import ImageNotFound, PimsError
from pims.files.layout import Role
from pims.images.opener import Opener
from pims.testing.slides import gradient, write_pyramid
from tests.images.conftest import ImportSlide


@pytest.fixture
def slide(tmp_path: Path, import_slide: ImportSlide) -> str:
    return import_slide(write_pyramid(tmp_path / "slide.tif", gradient(300, 200)))


def test_every_file_of_an_upload_has_its_role(opener: Opener, root: Path, slide: str) -> None:
    directory = slide.partition("/")[0]
    for inside, role in (
        ("slide.tif", Role.UPLOAD),
        ("processed/original.PYRTIFF", Role.ORIGINAL),
        ("processed/visualisation.PYRTIFF", Role.SPATIAL),
    ):
        _, _, found, path = opener.resolve(f"{directory}/{inside}")
        assert found is role
        assert path.resolve() == (root / slide).resolve()


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "..",
        "../root/{directory}/slide.tif",
        "./slide.tif",
        "processed/../slide.tif",
        "processed",
        "processed/manifest.json",
        "processed/histogram",
        "processed/original.PNG",
        "SLIDE.TIF",
        "slide.tif/",
        "slide.tif\0",
        "slide.tif\n",
        "slide\\.tif",
        "x" * 5000,
    ],
)
def test_other_paths_name_nothing(opener: Opener, slide: str, inside: str) -> None:
    directory = slide.partition("/")[0]
    with pytest.raises(ImageNotFound):
        opener.resolve(f"{directory}/{inside.format(directory=directory)}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.text(max_size=80) | st.text(alphabet="./\\upload-0%2e", max_size=60))
def test_no_text_reaches_anything_but_an_image(opener: Opener, text: str) -> None:
    with pytest.raises(ImageNotFound):
        opener.resolve(text)
    with pytest.raises(ImageNotFound):
        opener.resolve(f"upload-{text}")


def test_a_link_that_leads_out_of_the_root_is_not_opened(
    opener: Opener, root: Path, tmp_path: Path, slide: str
) -> None:
    outside = write_pyramid(tmp_path / "outside.tif", gradient(300, 200))
    directory, manifest, _, spatial = opener.resolve(
        slide.replace("slide.tif", "processed/visualisation.PYRTIFF")
    )
    spatial.unlink()
    spatial.symlink_to(outside)
    with pytest.raises(PimsError, match="leads out of its upload"):
        opener.open(directory, manifest)


def test_an_upload_that_is_a_link_is_not_followed(opener: Opener, root: Path, slide: str) -> None:
    name = slide.partition("/")[0]
    (root / "upload-linked").symlink_to(name)
    with pytest.raises(ImageNotFound):
        opener.resolve("upload-linked/slide.tif")


def test_uploads_are_listed_newest_first_and_damaged_ones_left_out(
    opener: Opener, root: Path, tmp_path: Path, import_slide: ImportSlide
) -> None:
    paths = [import_slide(write_pyramid(tmp_path / f"{n}.tif", gradient(300, 200 + n))) for n in range(3)]
    assert [manifest.file_name for manifest in opener.list_uploads()] == ["2.tif", "1.tif", "0.tif"]
    (root / paths[1].partition("/")[0] / "processed" / "manifest.json").write_text("nonsense")
    assert [manifest.file_name for manifest in opener.list_uploads()] == ["2.tif", "0.tif"]


def test_a_root_that_does_not_exist_yet_is_empty(tmp_path: Path, opener: Opener) -> None:
    opener.root = tmp_path / "nowhere"
    assert opener.list_uploads() == []
