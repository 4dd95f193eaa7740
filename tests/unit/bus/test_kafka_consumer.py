"""What a consumer does while the client's own thread takes partitions away."""

from __future__ import annotations

import kafka
import pytest
from arno.bus import BusSettings
from arno.bus.kafka.assignment import PartitionState, RebalanceListener
from arno.bus.kafka.consumer import KafkaConsumer, _Member
from arno.vocabulary import Lane
from kafka import TopicPartition
from kafka.consumer.subscription_state import SubscriptionState

PARTITION = TopicPartition("arno.jobs.batch", 0)


class Leaving(kafka.KafkaConsumer):
    """The client, whose only partition leaves when it has been listed."""

    def __init__(self) -> None:
        self._subscription = SubscriptionState()
        self._subscription.assign_from_user([PARTITION])

    def paused(self) -> set[TopicPartition]:
        found = super().paused()
        self._subscription.assignment.clear()
        return found


@pytest.mark.parametrize("full", [True, False])
def test_partition_that_leaves_as_it_is_paused_or_resumed_ends_no_poll(*, full: bool) -> None:
    consumer, client = KafkaConsumer(BusSettings(), [Lane.BATCH]), Leaving()
    consumer.unfinished_max = 0 if full else 1
    if not full:
        client.pause(PARTITION)
    member = _Member(client, RebalanceListener(client, PartitionState()))
    assert consumer._apply_window(member) == consumer.unfinished_max
    assert not client.assignment()
