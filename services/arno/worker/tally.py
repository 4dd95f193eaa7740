"""Count what happened to jobs, for the process's metrics and statistics. Knows no Prometheus."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from arno.vocabulary import JobState


@dataclass(frozen=True, slots=True)
class TallyCounts:
    """Counts since the start.

    Attributes:
        ended: Jobs whose end was stored by this worker, by state.
        duplicate_count: Ends that were dropped, because the job had ended before.
        repeated_delivery_count: Deliveries of jobs that had ended already.
        dead_letters: Records given up, by reason.
    """

    ended: Mapping[JobState, int]
    duplicate_count: int
    repeated_delivery_count: int
    dead_letters: Mapping[str, int]


class Tally:
    """Counters that any thread may raise."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock = threading.Lock()
        self._ended: Counter[JobState] = Counter()
        self._dead_letters: Counter[str] = Counter()
        self._duplicate_count = 0
        self._repeated_delivery_count = 0

    def count_ended(self, state: JobState, *, first: bool) -> None:
        """Count a stored end, or one that was dropped."""
        with self._lock:
            if first:
                self._ended[state] += 1
            else:
                self._duplicate_count += 1

    def count_repeated_delivery(self) -> None:
        """Count a delivery of a job that had ended already."""
        with self._lock:
            self._repeated_delivery_count += 1

    def count_dead_letter(self, reason: str) -> None:
        """Count a record that was given up."""
        with self._lock:
            self._dead_letters[reason] += 1

    def counts(self) -> TallyCounts:
        """Return the numbers of this moment."""
        with self._lock:
            return TallyCounts(
                ended=dict(self._ended),
                duplicate_count=self._duplicate_count,
                repeated_delivery_count=self._repeated_delivery_count,
                dead_letters=dict(self._dead_letters),
            )
