"""Opened images are shared, followed when they change, and closed when nobody needs them."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pims.errors import CorruptFile, ImageNotFound, Overloaded, StorageError
from pims.files.manifest import Manifest
from pims.images.image import OpenedImage
from pims.images.opener import Opener
from pims.images.pool import ImagePool
from pims.testing.slides import gradient, write_pyramid
from tests.images.conftest import ImportSlide


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def slides(tmp_path: Path, import_slide: ImportSlide) -> list[str]:
    return [
        import_slide(write_pyramid(tmp_path / f"{index}.tif", gradient(300 + index, 300)))
        for index in range(4)
    ]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_an_image_is_opened_once_for_all_its_names(pool: ImagePool, slides: list[str]) -> None:
    directory = slides[0].partition("/")[0]
    with pool.lease(slides[0]) as first:
        for alias in ("processed/original.PYRTIFF", "processed/visualisation.PYRTIFF"):
            with pool.lease(f"{directory}/{alias}") as again:
                assert again is first
    assert len(pool) == 1


def test_only_what_is_open_and_fresh_is_lent_without_the_disk(opener: Opener, slides: list[str]) -> None:
    clock = Clock()
    pool = ImagePool(opener, 10, clock)
    assert pool.lease_open(slides[0]) is None
    with pool.lease(slides[0]) as image:
        lease = pool.lease_open(slides[0])
        assert lease is not None
        assert lease.image is image
        lease.release()
    clock.now = 1.5
    assert pool.lease_open(slides[0]) is None
    pool.close()


def test_a_new_revision_is_seen_within_a_second(opener: Opener, slides: list[str]) -> None:
    clock = Clock()
    pool = ImagePool(opener, 10, clock)
    with pool.lease(slides[0]) as image:
        before, manifest = image.identity, image.manifest
        replace(manifest, revision=2).write(image.directory.manifest)
        with pool.lease(slides[0]) as trusted:
            assert trusted is image
    clock.now = 1.1
    with pool.lease(slides[0]) as image:
        assert image.identity != before
        assert image.manifest.revision == 2
    pool.close()


def test_a_deleted_image_is_gone_within_a_second(root: Path, opener: Opener, slides: list[str]) -> None:
    clock = Clock()
    pool = ImagePool(opener, 10, clock)
    with pool.lease(slides[0]):
        pass
    shutil.rmtree(root / slides[0].partition("/")[0])
    clock.now = 1.1
    with pytest.raises(ImageNotFound), pool.lease(slides[0]):
        pass
    pool.close()


def test_the_images_used_last_stay_open_and_the_others_are_closed(opener: Opener, slides: list[str]) -> None:
    before = open_files()
    pool = ImagePool(opener, 2)
    for slide in (*slides, *slides):
        with pool.lease(slide):
            pass
    assert len(pool) == 2
    assert open_files() == before + 2
    pool.close()
    assert open_files() == before


def test_a_leased_image_is_closed_when_its_last_lease_ends(opener: Opener, slides: list[str]) -> None:
    pool = ImagePool(opener, 1)
    with pool.lease(slides[0]) as image:
        with pool.lease(slides[1]):
            pass
        assert image.spatial.source.pread(0, 4)
    with pytest.raises(StorageError):
        image.spatial.source.pread(0, 4)
    pool.close()


def test_threads_that_ask_at_once_share_one_opening(
    opener: Opener, slides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = ImagePool(opener, 10)
    opened: list[Any] = []
    original = opener.open

    def counted(*given: Any) -> OpenedImage:
        opened.append(given)
        return original(*given)

    monkeypatch.setattr(opener, "open", counted)
    seen: set[int] = set()

    def look() -> None:
        with pool.lease(slides[0]) as image:
            seen.add(id(image))

    threads = [threading.Thread(target=look) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    assert len(seen) == 1
    pool.close()


def test_names_that_do_not_exist_leave_nothing_behind(pool: ImagePool, slides: list[str]) -> None:
    for index in range(50):
        with pytest.raises(ImageNotFound), pool.lease(f"upload-{index}/x.tif"):
            pass
        with pytest.raises(ImageNotFound), pool.lease(f"{slides[0]}-{index}"):
            pass
    assert len(pool) == 0
    assert not pool._opening


def test_a_damaged_manifest_is_a_corrupt_file(root: Path, pool: ImagePool, slides: list[str]) -> None:
    manifest = root / slides[0].partition("/")[0] / "processed" / "manifest.json"
    manifest.write_text("{")
    with pytest.raises(CorruptFile), pool.lease(slides[0]):
        pass
    with pytest.raises(CorruptFile):
        Manifest.read(manifest)


def test_one_caller_looks_at_a_stale_image_and_the_others_do_not_wait(
    opener: Opener, slides: list[str]
) -> None:
    clock = Clock()
    pool = ImagePool(opener, 10, clock)
    with pool.lease(slides[0]) as image:
        before = image.manifest.revision
        replace(image.manifest, revision=2).write(image.directory.manifest)
    clock.now = 1.1
    assert pool.lease_open(slides[0]) is None  # this caller is to look
    others = pool.lease_open(slides[0])
    assert others is not None
    assert others.image.manifest.revision == before
    others.release()
    with pool.lease(slides[0]) as image:  # who can wait looks, too
        assert image.manifest.revision == 2
    clock.now = 2.3
    assert pool.lease_open(slides[0]) is None
    clock.now = 3.5  # the one who was to look never did
    assert pool.lease_open(slides[0]) is None
    pool.close()


def test_an_image_that_is_long_in_opening_holds_up_nobody_for_long(
    slides: list[str], opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = slides[0]
    pool, gate, entered = ImagePool(opener, 10), threading.Event(), threading.Event()
    really = opener.open

    def slowly(*given: Any) -> OpenedImage:
        entered.set()
        gate.wait(30)
        return really(*given)

    monkeypatch.setattr(opener, "open", slowly)
    monkeypatch.setattr("pims.images.pool.OPENING_SECONDS", 0.2)
    first = threading.Thread(target=lambda: pool.lease(path).release())
    first.start()
    assert entered.wait(10)
    with pytest.raises(Overloaded):
        pool.lease(path)
    gate.set()
    first.join(30)
    with pool.lease(path) as image:
        assert image.filepath == path
    pool.close()
