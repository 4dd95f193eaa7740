"""Keep the producer's thread from asking without a pause whether a broker is ready for more.

While a connection is being made, or has as many requests open as it may, the sender of kafka-python
3.0.12 asks again at once, and takes the seconds of a backoff for milliseconds. With a broker that
accepts connections and says nothing that is a thread that spins for as long as the outage lasts,
and all others wait for the interpreter: a gateway's refusals took up to a second.
"""

from __future__ import annotations

from typing import Final

from arno.bus.kafka.long_reads import LongReadsClient

NOT_READY_PAUSE_MS: Final = 50.0
"""An answer, a new connection or a new record ends the pause, so that nothing waits for it."""


class UnhurriedClient(LongReadsClient):
    """What a ``KafkaProducer`` talks through."""

    def connection_delay(self, node_id: int) -> float:
        """Return when to ask again about a broker that is not ready, in milliseconds.

        The sender is the only one of a producer that asks.
        """
        return max(NOT_READY_PAUSE_MS, 1000.0 * float(super().connection_delay(node_id)))
