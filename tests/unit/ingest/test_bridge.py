"""Results of images whose partition moves to another process while they are asked about."""

from __future__ import annotations

import asyncio

import pytest
from arno.bus.kafka.foreign import ForeignDelivery
from arno.bus.kafka.sender import Outgoing
from arno.bus.offsets import OffsetLedger
from arno.bus.ports import Receipt, Record
from arno.ingest.metrics import BridgeMetrics, IngestMetrics
from arno.ingest.settings import TopicRoute
from arno.ingest.topics.asker import Asker, Question
from arno.ingest.topics.bridge import BridgeParts, TopicBridge
from arno.vocabulary.results import InferResult
from arno.vocabulary.wire_results import infer_result
from prometheus_client import CollectorRegistry
from support.answers import response

ROUTE = TopicRoute(topic="in", results="out", dead_letters="dead", tasks=("OD",))


class Reader:
    """The source's group, as far as a bridge asks it outside of its own thread."""

    def __init__(self) -> None:
        self.ledger: OffsetLedger[int] = OffsetLedger()
        self.finished: list[str] = []

    def take(self) -> ForeignDelivery:
        self.ledger.assign([0])
        epoch = self.ledger.receive(0, 5)
        assert epoch is not None
        return ForeignDelivery(Record("in", b"image"), Receipt("in", 0, "5", epoch), 0, key=b"door")

    def holds(self, receipt: Receipt) -> bool:
        return self.ledger.holds(receipt.partition, receipt.epoch)

    def done(self, receipt: Receipt) -> None:
        self.finished.append(receipt.position)


class Sender:
    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    async def send(self, message: Outgoing, *, timeout_s: float) -> None:
        self.sent.append(message)


@pytest.mark.parametrize("moves", [False, True, "and comes back"])
async def test_result_is_written_only_while_its_partition_is_ours(moves: bool | str) -> None:
    reader, sender = Reader(), Sender()
    found = reader.take()

    async def infer(image: bytes, key: str) -> InferResult:
        if moves:
            reader.ledger.revoke([0])
        if moves == "and comes back":
            reader.take()
        return infer_result(response())

    asker = Asker(infer, Question((), "batch", 1.0, 1), on_retry=lambda reason: None)
    metrics = BridgeMetrics(IngestMetrics(CollectorRegistry()), "in")
    bridge = TopicBridge(ROUTE, BridgeParts(reader, sender, asker, metrics), drain_s=1.0)
    bridge._begin([found])
    await asyncio.gather(*bridge._tasks)
    assert [message.topic for message in sender.sent] == ([] if moves else ["out"])
    assert reader.finished == ([] if moves else ["5"])
