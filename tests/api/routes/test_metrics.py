"""What the server counted, over HTTP."""

from __future__ import annotations

from typing import Any


def samples(client: Any) -> dict[str, float]:
    text = client.get("/metrics").text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_requests_are_counted_when_they_were_answered(client: Any, slide: str) -> None:
    thumb = client.get(f"/image/{slide}/thumb.png")
    client.get(f"/image/{slide}/thumb.png?length=x")
    client.get("/nothing")
    found = samples(client)
    assert found['pims_requests_total{kind="thumb",status="2xx"}'] == 1
    assert found['pims_requests_total{kind="thumb",status="4xx"}'] == 1
    assert found['pims_requests_total{kind="other",status="4xx"}'] == 1
    assert found['pims_response_bytes_total{kind="thumb"}'] > len(thumb.content)
    assert found['pims_request_duration_seconds_count{kind="thumb"}'] == 2
    assert found["pims_images_open"] == 1
    assert samples(client)['pims_requests_total{kind="other",status="2xx"}'] == 1


def test_a_head_request_sent_no_bytes(client: Any, slide: str) -> None:
    client.head(f"/image/{slide}/thumb.png")
    found = samples(client)
    assert found['pims_requests_total{kind="thumb",status="2xx"}'] == 1
    assert found['pims_response_bytes_total{kind="thumb"}'] == 0


def test_only_those_who_may_ask_are_told(make_client: Any) -> None:
    client = make_client(auth="network", auth_secret="swordfish", host="0.0.0.0")
    assert client.get("/metrics").status_code == 401
    answer = client.get("/metrics", headers={"authorization": "Bearer swordfish"})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
