"""What an image says of itself, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest


def test_the_image_is_described_in_the_units_clients_know(shared_client: Any, shared_slide: str) -> None:
    assert shared_client.get(f"/image/{shared_slide}/info/image").json() == {
        "original_format": "PYRTIFF",
        "width": 600,
        "height": 400,
        "depth": 1,
        "duration": 1,
        "physical_size_x": 0.499123,
        "physical_size_y": 0.5,
        "physical_size_z": None,
        "frame_rate": None,
        "n_channels": 3,
        "n_concrete_channels": 1,
        "n_samples": 3,
        "n_planes": 1,
        "are_rgb_planes": True,
        "n_distinct_channels": 1,
        "acquired_at": "2024-02-29T12:30:00Z",
        "description": "a slide",
        "pixel_type": "uint8",
        "significant_bits": 8,
        "bits": 8,
    }


def test_channels_have_short_colours_and_wavelengths(shared_client: Any, shared_slide: str) -> None:
    body = shared_client.get(f"/image/{shared_slide}/info/channels").json()
    assert body["size"] == len(body["items"]) == 3
    assert body["items"][0] == {
        "index": 0,
        "suggested_name": "R",
        "emission_wavelength": 620.0,
        "excitation_wavelength": 590.0,
        "color": "#f00",
    }
    assert [channel["color"] for channel in body["items"]] == ["#f00", "#0f0", "#1234ff"]


def test_the_instrument_is_nested(shared_client: Any, shared_slide: str) -> None:
    assert shared_client.get(f"/image/{shared_slide}/info/instrument").json() == {
        "microscope": {"model": "Scope 1"},
        "objective": {"nominal_magnification": 20.0, "calibrated_magnification": 20.1},
    }


def test_associated_images_are_listed(shared_client: Any, shared_slide: str) -> None:
    label = {"name": "label", "width": 30, "height": 40, "n_channels": 3}
    assert shared_client.get(f"/image/{shared_slide}/info/associated").json() == {"items": [label], "size": 1}


def test_the_normalized_pyramid_halves_until_one_tile(shared_client: Any, shared_slide: str) -> None:
    body = shared_client.get(f"/image/{shared_slide}/info/normalized-pyramid").json()
    assert body["n_tiers"] == 3
    assert [(t["zoom"], t["level"], t["width"], t["height"]) for t in body["tiers"]] == [
        (2, 0, 600, 400),
        (1, 1, 300, 200),
        (0, 2, 150, 100),
    ]
    assert (
        body["tiers"][0] | {"downsampling_factor": 1.0, "n_tiles": 6, "n_tx": 3, "n_ty": 2}
        == body["tiers"][0]
    )
    assert body["tiers"][1]["downsampling_factor"] == 2.0
    assert {t["tile_width"] for t in body["tiers"]} == {t["tile_height"] for t in body["tiers"]} == {256}


def test_representations_have_roles_and_files(shared_client: Any, shared_slide: str) -> None:
    body = shared_client.get(f"/image/{shared_slide}/info/representations").json()
    assert [item["role"] for item in body["items"]] == ["UPLOAD", "ORIGINAL", "SPATIAL"]
    upload, original, spatial = body["items"]
    assert upload["file"]["filepath"] == shared_slide
    assert upload["file"]["size"] > 0
    assert not upload["file"]["is_symbolic"]
    assert original["file"]["is_symbolic"]
    assert original["file"]["size"] == 0
    assert upload["pyramid"] is original["pyramid"] is None
    assert [tier["width"] for tier in spatial["pyramid"]["tiers"]] == [600, 300]


@pytest.mark.parametrize("role", ["UPLOAD", "ORIGINAL", "SPATIAL"])
def test_one_representation_is_the_one_of_the_list(shared_client: Any, shared_slide: str, role: str) -> None:
    listed = shared_client.get(f"/image/{shared_slide}/info/representations").json()["items"]
    one = shared_client.get(f"/image/{shared_slide}/info/representations/{role}").json()
    assert one in listed
    assert one["role"] == role


@pytest.mark.parametrize("role", ["SPECTRAL", "NONE"])
def test_a_representation_that_is_not_there_is_named(
    shared_client: Any, shared_slide: str, role: str
) -> None:
    answer = shared_client.get(f"/image/{shared_slide}/info/representations/{role}")
    assert (answer.status_code, answer.json()["representation"]) == (404, role)


def test_everything_at_once_is_the_parts_with_bare_lists(shared_client: Any, shared_slide: str) -> None:
    full = shared_client.get(f"/image/{shared_slide}/info").json()
    for part in ("image", "instrument"):
        assert full[part] == shared_client.get(f"/image/{shared_slide}/info/{part}").json()
    for part in ("associated", "channels", "representations"):
        assert full[part] == shared_client.get(f"/image/{shared_slide}/info/{part}").json()["items"]


def test_every_file_of_an_upload_is_the_same_image(shared_client: Any, shared_slide: str) -> None:
    directory = shared_slide.partition("/")[0]
    tags = set()
    for alias in (
        shared_slide,
        f"{directory}/processed/original.PYRTIFF",
        f"{directory}/processed/visualisation.PYRTIFF",
        shared_slide.replace("/", "%2F"),
    ):
        answer = shared_client.get(f"/image/{alias}/info")
        assert answer.status_code == 200
        tags.add((answer.headers["etag"], answer.content))
    assert len(tags) == 1


def test_an_image_whose_stored_file_is_damaged_is_a_conflict(client: Any, slide: str, root: Any) -> None:
    (root / slide).write_bytes(b"II*\0" + b"\xff" * 100)
    answer = client.get(f"/image/{slide}/info")
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:pims:problem:unreadable-image"


def test_an_image_whose_manifest_is_damaged_has_to_be_imported_again(
    client: Any, slide: str, root: Any
) -> None:
    (root / slide.partition("/")[0] / "processed" / "manifest.json").write_text("{")
    answer = client.get(f"/image/{slide}/info")
    assert answer.status_code == 409
    assert "retry-after" not in answer.headers
