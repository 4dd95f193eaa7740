"""Every instrument of ``arno notify``.

Stands alone: as every process has its ``metrics.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

_OUTCOMES: Final = ("delivered", "undelivered", "gone")


class NotifyMetrics:
    """The instruments, in the registry passed in."""

    def __init__(self, registry: CollectorRegistry, subscriptions: Iterable[str] = ()) -> None:
        """Register all of them; those of known subscriptions start at 0."""
        self.events = Counter(
            "arno_notify_events_total",
            "Events finished: delivered, given up, or of a job that was gone.",
            ["subscription", "outcome"],
            registry=registry,
        )
        self.retries = Counter(
            "arno_notify_failed_attempts_total",
            "Attempts to deliver that failed.",
            ["subscription"],
            registry=registry,
        )
        self.waiting = Gauge(
            "arno_notify_waiting_events",
            "Ends that the subscription is not done with; at most 10,000 of those unread count.",
            ["subscription"],
            registry=registry,
        )
        for name in subscriptions:
            self.retries.labels(name)
            for outcome in _OUTCOMES:
                self.events.labels(name, outcome)
