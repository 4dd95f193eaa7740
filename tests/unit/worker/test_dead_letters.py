import asyncio
import threading
from collections.abc import Iterator

import pytest
from arno.bus.kafka.settings import DELIVERY_TIMEOUT_S
from arno.bus.ports import Record
from arno.bus.v1.records_pb2 import DeadJob
from arno.errors import BackendUnavailableError
from arno.ops.clock import Clock
from arno.worker.dead_letters import DeadLetterPublisher
from arno.worker.metrics import WorkerMetrics
from arno.worker.retrying import AbandonedError, Backend
from prometheus_client import CollectorRegistry


class _Publisher:
    """A bus that notes for how long it may try, and answers as the test says."""

    def __init__(self) -> None:
        self.timeouts_s: list[float] = []
        self.asked = threading.Event()
        self.silent = False

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    async def publish(self, record: Record, *, timeout_s: float) -> None:
        self.timeouts_s.append(timeout_s)
        self.asked.set()
        if self.silent:
            await asyncio.Event().wait()
        if len(self.timeouts_s) == 1:
            raise BackendUnavailableError("not acknowledged")


@pytest.fixture
def publisher() -> _Publisher:
    return _Publisher()


@pytest.fixture
def dead_letters(publisher: _Publisher) -> Iterator[DeadLetterPublisher]:
    bus = Backend("bus", threading.Event())
    metrics = WorkerMetrics(CollectorRegistry())
    dead_letters = DeadLetterPublisher(lambda: publisher, bus, metrics, Clock())  # type: ignore[arg-type,return-value]  # a part
    dead_letters.start()
    yield dead_letters
    dead_letters.close()


def test_dead_letter_is_not_sent_again_while_its_first_copy_may_still_wait_in_the_client(
    publisher: _Publisher, dead_letters: DeadLetterPublisher
) -> None:
    dead_letters.publish(DeadJob())
    assert len(publisher.timeouts_s) == 2
    assert min(publisher.timeouts_s) > DELIVERY_TIMEOUT_S


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_process_that_leaves_waits_for_no_dead_letter(
    publisher: _Publisher, dead_letters: DeadLetterPublisher, when: str
) -> None:
    publisher.silent = True
    abandoned = threading.Event()

    def publish() -> None:
        try:
            dead_letters.publish(DeadJob())
        except AbandonedError:
            abandoned.set()

    if when == "before":
        dead_letters.abandon()
    thread = threading.Thread(target=publish)
    thread.start()
    if when == "meanwhile":
        assert publisher.asked.wait(10)
        dead_letters.abandon()
    assert abandoned.wait(10)
    thread.join()
