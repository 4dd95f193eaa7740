"""The bus's rules on a real Kafka broker."""

from __future__ import annotations

import pytest
from arno.bus import BusSettings
from contract.bus_suite import BusSuite
from contract.dead_letters_suite import DeadLettersSuite
from support.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka


class TestKafkaBus(BusSuite, DeadLettersSuite):
    @pytest.fixture
    def server(self, kafka_broker: KafkaBroker) -> KafkaBroker:
        return kafka_broker

    @pytest.fixture
    def settings(self, server: KafkaBroker, unique_prefix: str) -> BusSettings:
        return BusSettings(
            bus="kafka",
            kafka_bootstrap=server.bootstrap,
            topic_prefix=unique_prefix,
            group=unique_prefix,
            partitions=2,
        )
