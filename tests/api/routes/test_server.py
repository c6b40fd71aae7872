"""The server and its formats, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pims


def test_ping_answers_pong(client: Any) -> None:
    assert client.get("/ping").json() == {"ping": "pong"}


def test_info_tells_version_and_settings_but_no_secret_and_no_path(make_client: Any, root: Any) -> None:
    client = make_client(auth="network", auth_networks="127.0.0.0/8", auth_secret="swordfish", host="0.0.0.0")
    body = client.get("/info").json()
    assert body["version"] == pims.__version__
    assert body["settings"]["output_size_limit"] == 10_000
    assert body["settings"]["default_image_size_safety_mode"] == "SAFE_REJECT"
    text = json.dumps(body)
    assert "swordfish" not in text
    assert str(root) not in text
    assert not {"root", "writing_path", "auth_secret", "auth_networks", "host"} & set(body["settings"])


def test_formats_are_listed_by_identifier(client: Any) -> None:
    body = client.get("/formats").json()
    identifiers = [item["id"] for item in body["items"]]
    assert identifiers == sorted(identifiers)
    assert body["size"] == len(identifiers)
    assert {"PYRTIFF", "PLANARTIFF"} <= set(identifiers)
    assert isinstance(body["failures"], list)


def test_a_format_is_found_in_any_case(client: Any) -> None:
    body = client.get("/formats/PyrTiff").json()
    assert body["id"] == "PYRTIFF"
    assert set(body) == {
        "id",
        "name",
        "remarks",
        "convertible",
        "readable",
        "writable",
        "importable",
        "plugin",
        "extensions",
        "media_type",
        "conversion",
        "bits",
        "floating_point",
        "samples",
        "planes",
        "brightfield",
        "grouping",
    }
    assert body in client.get("/formats").json()["items"]


def test_a_plug_in_that_failed_is_named(client: Any) -> None:
    from dataclasses import replace

    from pims.formats.registry import FormatRegistry, PluginFailure

    services = client.app.app.state.services
    registry = FormatRegistry(services.registry, [PluginFailure("pims_plugin_format_x", "ImportError: no")])
    client.app.app.state.services = replace(services, registry=registry)
    assert client.get("/formats").json()["failures"] == [
        {"plugin": "pims_plugin_format_x", "reason": "ImportError: no"}
    ]


def test_a_format_nobody_knows_is_not_found(client: Any) -> None:
    answer = client.get("/formats/" + "x" * 3000)
    assert (answer.status_code, answer.json()["title"]) == (404, "Format not found")
    assert len(answer.content) < 8000
