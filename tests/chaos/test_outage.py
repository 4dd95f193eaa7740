"""Kafka is away under open calls: all are answered in time, and the gateway recovers by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.machine import Machine
from chaos.outage import outage_machine, suffer
from support.availability import require
from support.kafka_broker import WAYS_TO_GET_IT, kafka_available

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    require(kafka_available(), WAYS_TO_GET_IT)
    machine = outage_machine(tmp_path)
    machine.start()
    yield machine
    machine.stop()


async def test_calls_open_without_kafka_are_answered_before_their_deadline(
    machine: Machine,
) -> None:
    outage = await suffer(machine, call_count=100, image_bytes=200_000, wave_count=2)
    for wave in outage.waves:
        assert set(wave.codes) == {"UNAVAILABLE"}
        assert wave.codes.total() == 100
