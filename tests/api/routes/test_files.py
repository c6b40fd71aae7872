"""The files of an upload, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def test_the_upload_is_described(client: Any, make_upload: Any, root: Any) -> None:
    slide = make_upload(name="my.slide.ome.tif")
    body = client.get(f"/file/{slide}/info").json()
    created = datetime.fromisoformat(body.pop("created_at"))
    assert created == datetime.fromtimestamp((root / slide).lstat().st_ctime)
    assert body == {
        "file_type": "SINGLE",
        "filepath": slide,
        "stem": "my",
        "extension": ".slide.ome.tif",
        "size": (root / slide).stat().st_size,
        "is_symbolic": False,
        "role": "UPLOAD",
    }


def test_a_link_has_its_role_and_no_size(client: Any, slide: str) -> None:
    directory = slide.partition("/")[0]
    body = client.get(f"/file/{directory}/processed/visualisation.PYRTIFF/info").json()
    assert (body["role"], body["is_symbolic"], body["size"]) == ("SPATIAL", True, 0)


def test_a_name_in_any_script_is_found(client: Any, make_upload: Any) -> None:
    slide = make_upload(name="切片-é.tif")
    assert client.get(f"/file/{slide}/info").json()["filepath"] == slide
