"""A whole Arno with arno-tiny and its web process, for the tests of a worker that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.arno_up import ArnoUp
from support.availability import require
from support.redis_server import WAYS_TO_GET_IT, redis_executables


@pytest.fixture(scope="session")
def web_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArnoUp]:
    """`arno up` with the bundled model; `web_up.web` is the URL of its page."""
    require(redis_executables(), WAYS_TO_GET_IT)
    folder = tmp_path_factory.mktemp("web_up")
    up = ArnoUp(folder, "--model", "tiny", "--web", "--web-port", "0")
    yield up
    assert up.stop() == 0
