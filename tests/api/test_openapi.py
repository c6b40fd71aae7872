"""The description of the API, and the pages that show it without the internet."""

from __future__ import annotations

import re
from typing import Any

import pytest


@pytest.mark.parametrize("base", ["", "/ims"])
@pytest.mark.parametrize("page", ["/docs", "/swagger"])
def test_the_documentation_loads_everything_from_this_server(
    make_shared_client: Any, base: str, page: str
) -> None:
    client = make_shared_client(api_base_path=base)
    html = client.get(f"{base}{page}").text
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", html)
    for url in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", html):
        assert url.startswith(f"{base}/static-offline-docs/")
        assert client.get(url).status_code == 200
    assert f"{base}/openapi.json" in html


def test_every_operation_has_one_name_and_documents_its_problems(shared_client: Any) -> None:
    description = shared_client.get("/openapi.json").json()
    names = []
    for path, operations in description["paths"].items():
        for operation in operations.values():
            names.append(operation["operationId"])
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], path
            assert operation["summary"]
    assert len(names) == len(set(names))
    problem = description["components"]["schemas"]["ProblemBody"]
    assert {"type", "title", "status", "detail", "instance", "errors"} <= set(problem["required"])


def test_every_reference_of_the_description_resolves(shared_client: Any) -> None:
    text = shared_client.get("/openapi.json").text
    schemas = shared_client.get("/openapi.json").json()["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in schemas


def test_the_description_is_found_with_and_without_the_base_path(make_shared_client: Any) -> None:
    client = make_shared_client(api_base_path="/ims")
    assert client.get("/openapi.json").json() == client.get("/ims/openapi.json").json()
