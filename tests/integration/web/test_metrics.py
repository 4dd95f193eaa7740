"""What the web process counts, and what its probes say."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx2
import pytest
from arno.client import AsyncClient
from arno.web.app import GatewayWatch, make_app
from prometheus_client import CollectorRegistry
from support.eventually import eventually
from support.images import png
from support.web_server import served


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metered(gateway, registry) -> Iterator[httpx2.Client]:
    def make(settings):
        return make_app(settings, lambda: AsyncClient(gateway.address), registry=registry)

    with served(make) as url, httpx2.Client(base_url=url, timeout=20) as client:
        yield client


def form() -> dict:
    return {"files": {"image": png()}, "data": {"task": "OD"}}


def test_requests_are_counted_by_route_and_status(metered, registry):
    def count(route: str, status: str) -> float | None:
        labels = {"route": route, "status": status}
        return registry.get_sample_value("arno_web_requests_total", labels)

    assert count("/v1/infer", "200") == 0
    metered.post("/v1/infer", **form())
    metered.get("/v1/jobs/one")
    metered.get("/v1/jobs/two")
    metered.get("/static/app.js")
    metered.get("/nowhere")
    metered.post("/v1/infer", headers={"origin": "https://other.example"}, **form())
    counts = {
        ("/v1/infer", "200"): 1,
        ("/v1/jobs/{job_id}", "200"): 2,
        ("/static", "200"): 1,
        ("other", "404"): 1,
        ("other", "403"): 1,
    }
    # A request is counted just after its answer was sent.
    eventually(
        lambda: {key: count(*key) for key in counts} == counts, what="six requests are counted"
    )
    timed = registry.get_sample_value("arno_web_request_seconds_count", {"route": "/v1/infer"})
    assert timed == 1


def test_event_streams_are_open_until_they_end_and_have_no_time(metered, registry, gateway):
    gateway.hang = True

    def follow() -> None:
        metered.post("/v1/infer", headers={"accept": "text/event-stream"}, **form())

    following = threading.Thread(target=follow)
    following.start()
    streams = lambda: registry.get_sample_value("arno_web_open_streams")  # noqa: E731
    eventually(lambda: streams() == 1, what="the stream is open")
    assert registry.get_sample_value("arno_web_open_requests") == 1
    gateway.hang = False
    following.join()
    eventually(lambda: streams() == 0, what="the stream has ended")
    labels = {"route": "/v1/infer"}
    assert registry.get_sample_value("arno_web_request_seconds_count", labels) == 0


@pytest.mark.parametrize("there", [True, False])
def test_probe_says_whether_the_gateway_takes_work(gateway, registry, there):
    watch = GatewayWatch()
    assert watch.problems() == ["the gateway was not asked yet"]
    address = gateway.address if there else "127.0.0.1:1"

    def make(settings):
        return make_app(settings, lambda: AsyncClient(address), registry=registry, watch=watch)

    expected = [] if there else ["the gateway at 127.0.0.1:1 is not ready"]
    with served(make):
        eventually(lambda: watch.problems() == expected, what="the gateway was asked")
        assert registry.get_sample_value("arno_web_gateway_up") == there
