"""A web server in front of a gateway that answers what a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from support.scripted_gateway import ScriptedGateway, scripted_gateway
from support.web_server import web_server

BODY_BYTES_MAX = 100_000


@pytest.fixture(scope="session")
def _gateway() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway: ScriptedGateway) -> Iterator[ScriptedGateway]:
    _gateway.forget()
    yield _gateway
    _gateway.hang = False


@pytest.fixture(scope="session")
def url(_gateway: ScriptedGateway) -> Iterator[str]:
    """The URL of a server with a small limit of bodies."""
    limits = {"web_body_bytes_max": BODY_BYTES_MAX, "web_bodies_bytes_max": 250_000}
    with web_server(_gateway.address, web_receive_timeout_s=0.5, **limits) as url:
        yield url


@pytest.fixture
def http(url: str, gateway: ScriptedGateway) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=20) as client:
        yield client
