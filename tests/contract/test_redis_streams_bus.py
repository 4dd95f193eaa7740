"""The bus's rules on a real redis-server."""

from __future__ import annotations

import pytest
from arno.bus import BusSettings
from contract.bus_suite import BusSuite
from contract.dead_letters_suite import DeadLettersSuite
from support.redis_server import RedisServer

pytestmark = pytest.mark.redis


class TestRedisStreamsBus(BusSuite, DeadLettersSuite):
    @pytest.fixture
    def server(self, redis_server: RedisServer) -> RedisServer:
        return redis_server

    @pytest.fixture
    def settings(self, server: RedisServer, unique_prefix: str) -> BusSettings:
        return BusSettings(
            bus="redis", redis_url=server.url, topic_prefix=unique_prefix, group=unique_prefix
        )
