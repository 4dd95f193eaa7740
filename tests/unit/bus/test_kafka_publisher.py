"""What a publisher does while a broker does not answer its questions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from arno.bus import BusSettings
from arno.bus.kafka import KafkaPublisher, KafkaTopicAdmin, publisher
from arno.errors import BackendUnavailableError

MORE_THAN_ALL_THREADS = 64


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Questions for what is unfinished hang until this is set."""
    answered = threading.Event()
    monkeypatch.setattr(publisher, "PING_TIMEOUT_S", 0.001)
    monkeypatch.setattr(KafkaTopicAdmin, "unfinished", lambda _, channels: answered.wait(30))
    yield answered
    answered.set()


async def test_question_that_hangs_takes_no_thread_from_others(
    hang: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = KafkaPublisher(BusSettings())
    for _ in range(MORE_THAN_ALL_THREADS):
        with pytest.raises(BackendUnavailableError):
            await bus.unfinished()
    monkeypatch.setattr(KafkaTopicAdmin, "ping", lambda _: None)
    monkeypatch.setattr(publisher, "PING_TIMEOUT_S", 5.0)
    await bus.ping()
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
    hang.set()
    await bus.close()
