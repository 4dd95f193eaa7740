"""Cameras by the web process: previews of `arno ingest`, for those whom the gateway serves."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from support.eventually import eventually
from support.previews import previews
from support.scripted_gateway import ScriptedGateway, refusal
from support.web_server import web_server


@pytest.fixture
def cameras(gateway: ScriptedGateway) -> Iterator[httpx2.Client]:
    with (
        previews("gate", "yard") as (_, url),
        web_server(gateway.address, web_previews=url, web_previews_max=1) as web,
        httpx2.Client(base_url=web, timeout=20) as client,
    ):
        yield client


def test_cameras_are_listed_and_watched(cameras, gateway):
    assert cameras.get("/about.json").json()["cameras"] is True
    assert cameras.get("/v1/cameras").json() == {"sources": ["gate", "yard"]}
    headers = {"Authorization": "Bearer a-key"}
    with cameras.stream("GET", "/v1/cameras/gate", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("multipart/x-mixed-replace")
        pieces, seen = answer.iter_bytes(), b""
        while b"\xff\xd8\xff" not in seen:
            seen += next(pieces)
        # One place, which is taken.
        assert cameras.get("/v1/cameras/yard").json()["reason"] == "OVERLOADED"
    assert gateway.keys[-2] == "a-key"

    def free() -> bool:
        with cameras.stream("GET", "/v1/cameras/gate") as again:
            return again.status_code == 200

    eventually(free, what="the place of the viewer who left is free")


@pytest.mark.parametrize("path", ["/v1/cameras", "/v1/cameras/gate"])
def test_caller_whom_the_gateway_refuses_sees_nothing(cameras, gateway, path):
    gateway.refuse = refusal(16, "UNAUTHENTICATED", "no key", problem="missing")
    assert cameras.get(path).status_code == 401


def test_name_that_would_be_a_part_of_another_request_is_refused(cameras):
    answer = cameras.get("/v1/cameras/gate%20HTTP%0D%0AX:%20y")
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_FIELD")


def test_camera_that_is_none_and_an_ingest_that_is_away_are_named(cameras, gateway):
    assert "answers 'HTTP/1.0 404 Not Found'" in cameras.get("/v1/cameras/roof").json()["detail"]
    with (
        web_server(gateway.address, web_previews="http://127.0.0.1:1") as web,
        httpx2.Client(base_url=web, timeout=20) as client,
    ):
        assert "http://127.0.0.1:1 does not answer" in client.get("/v1/cameras").json()["detail"]


def test_without_an_address_there_are_no_cameras(http):
    assert http.get("/about.json").json()["cameras"] is False
    assert http.get("/v1/cameras").json() == {"sources": []}
