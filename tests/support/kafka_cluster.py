"""Three real Kafka brokers, each a controller too, so that one of them may be killed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from support.kafka_broker import KafkaBroker, kafka_id

_SIZE = 3
# A smaller heap each, and what one broker alone cannot have: copies of everything.
_COPIES = {
    "offsets.topic.replication.factor=1": "offsets.topic.replication.factor=3",
    "transaction.state.log.replication.factor=1": "transaction.state.log.replication.factor=3",
    "transaction.state.log.min.isr=1": "transaction.state.log.min.isr=2",
    "share.coordinator.state.topic.replication.factor=1": (
        "share.coordinator.state.topic.replication.factor=3"
    ),
    "share.coordinator.state.topic.min.isr=1": "share.coordinator.state.topic.min.isr=2",
}


class ClusterBroker(KafkaBroker):
    """One broker of several; all are made before the first one is started."""

    def __init__(self, folder: Path, *, node: int, cluster: str) -> None:
        """Take its number, from 1, and the id that all brokers of the cluster share."""
        super().__init__(folder)
        self.node = node
        self.directory = kafka_id()
        self.peers: Sequence[ClusterBroker] = ()
        self._cluster = cluster

    def _properties(self) -> str:
        text = super()._properties().replace("node.id=1\n", f"node.id={self.node}\n")
        alone = f"quorum.bootstrap.servers=127.0.0.1:{self.controller_port}"
        together = ",".join(f"127.0.0.1:{peer.controller_port}" for peer in self.peers)
        text = text.replace(alone, f"quorum.bootstrap.servers={together}")
        for single, several in _COPIES.items():
            text = text.replace(single, several)
        return text + "replica.lag.time.max.ms=5000\n"

    def _identity(self) -> list[str]:
        voters = ",".join(
            f"{peer.node}@127.0.0.1:{peer.controller_port}:{peer.directory}" for peer in self.peers
        )
        return ["-t", self._cluster, "--initial-controllers", voters]


def make_cluster(folder: Path) -> list[ClusterBroker]:
    """Return three brokers that know of one another; nothing runs yet."""
    cluster = kafka_id()
    brokers = [
        ClusterBroker(folder / f"broker-{node}", node=node, cluster=cluster)
        for node in range(1, _SIZE + 1)
    ]
    for broker in brokers:
        broker.peers = brokers
    return brokers
