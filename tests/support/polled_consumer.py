"""A consumer in a thread of its own that polls it, as a worker's owner thread does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arno.bus import BusSettings, Consumer, Delivery, make_consumer
from support.background import Background

_POLL_S = 0.05


def keep(_: Delivery) -> bool:
    """Leave every delivery unfinished."""
    return False


def finish(_: Delivery) -> bool:
    """Declare every delivery done as soon as it comes."""
    return True


class PolledConsumer(Background):
    """Polls from ``with`` to the end of it; what came is in ``deliveries``."""

    def __init__(
        self,
        settings: BusSettings,
        channels: Sequence[str],
        handle: Callable[[Delivery], bool] = finish,
    ) -> None:
        """Take what to do with a delivery: the handler says whether it is done at once."""
        super().__init__("polled-consumer")
        self.consumer: Consumer = make_consumer(settings, channels)
        self.deliveries: list[Delivery] = []
        self.most_unfinished = 0
        self._handle = handle
        self._drain_s: float | None = None
        self._drained = False

    @property
    def values(self) -> list[bytes]:
        """The values that came, in their order, repeats included."""
        return [delivery.record.value for delivery in self.deliveries]

    def finish_all(self) -> None:
        """Declare everything that came done; what is done already is counted as stale."""
        for delivery in list(self.deliveries):
            self.consumer.done(delivery.receipt)

    def drain(self, timeout_s: float) -> bool:
        """Drain on the owner's thread and stop polling; return what the consumer said."""
        self._drain_s = timeout_s
        self.close()
        return self._drained

    def work(self) -> None:
        """Poll until told to stop, then close the consumer."""
        self.consumer.start()
        while not self.stopping.is_set():
            self._poll()
        if self._drain_s is not None:
            self._drained = self.consumer.drain(self._drain_s)
        self.consumer.close()

    def _poll(self) -> None:
        for delivery in self.consumer.poll(_POLL_S):
            self.deliveries.append(delivery)
            if self._handle(delivery):
                self.consumer.done(delivery.receipt)
        unfinished = self.consumer.statistics().unfinished_count
        self.most_unfinished = max(self.most_unfinished, unfinished)
