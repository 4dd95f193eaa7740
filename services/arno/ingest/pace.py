"""How much is sent: frames that do not look alike, and no more than can be answered in time.

Pure: no clock, no source, no gateway.
"""

from __future__ import annotations

import threading
from typing import Final

_NEWEST_SHARE: Final = 0.2
"""Weight of the newest measurement in the mean."""

_RECORDS_AT_FIRST: Final = 4
_QUICK_SHARE: Final = 1 / 8
_LATE_SHARE: Final = 1 / 4
"""Parts of the time limit; an answer between them changes nothing."""

_REFRESH_S: Final = 10.0
"""How long an answer is repeated at most, however still the picture is."""


class AdaptivePace:
    """Sends frames only as fast as they are answered within a target.

    A frame waits for those before it, each of which takes as long as answers are apart while there
    is work. So its latency is known before it is sent; what would be late is left out. One frame is
    always under way, however slow the model. Any thread.
    """

    def __init__(self, target_s: float) -> None:
        """Take the latency to hold."""
        self._target_s = target_s
        self._lock = threading.Lock()
        self._under_way = 0
        self._apart_s: float | None = None
        self._answered_s = float("-inf")

    def take(self) -> bool:
        """Return whether a frame may be sent now; if so, it counts as sent."""
        with self._lock:
            late = self._apart_s is None or (self._under_way + 1) * self._apart_s > self._target_s
            if self._under_way and late:
                return False
            self._under_way += 1
            return True

    def learn(self, latency_s: float, now_s: float) -> None:
        """Take the latency of a frame that was sent, when its result has come."""
        with self._lock:
            self._under_way -= 1
            # The model was at it since the answer before, or since the frame was sent.
            took_s = min(latency_s, now_s - self._answered_s)
            self._answered_s = now_s
            mean_s = took_s if self._apart_s is None else self._apart_s
            self._apart_s = mean_s + _NEWEST_SHARE * (took_s - mean_s)


class RecordPace:
    """How many records of a topic are in flight: as many as are answered well within their time.

    A few at first, one more with every quick answer, half as many where answers take a good part of
    their time, and a quarter where one has timed out: with a slow model they would time out while
    they wait for one another. Belongs to one thread; any may read.
    """

    def __init__(self, timeout_s: float, most: int) -> None:
        """Take the time limit of an answer, and the number that is never exceeded."""
        self._timeout_s = timeout_s
        self._most = most
        self._settled_s = float("-inf")
        self.in_flight_max = min(_RECORDS_AT_FIRST, most)
        """How many may be in flight now."""

    def learn(self, latency_s: float, now_s: float) -> None:
        """Take how long an answer took, or the time limit where none came."""
        if latency_s < _QUICK_SHARE * self._timeout_s:
            self.in_flight_max = min(self._most, self.in_flight_max + 1)
        elif latency_s > _LATE_SHARE * self._timeout_s and now_s - latency_s >= self._settled_s:
            # Once for all that were sent before: they have waited for one another.
            part = 4 if latency_s >= self._timeout_s else 2
            self.in_flight_max = max(1, self.in_flight_max // part)
            self._settled_s = now_s


class Stillness:
    """Tells which frames look like the last one that was sent, by their perceptual hashes."""

    def __init__(self, bits_max: int) -> None:
        """Take how many bits of the hashes may differ."""
        self._bits_max = bits_max
        self._hash: int | None = None
        self._sent_ms = 0

    def alike(self, frame_hash: int | None, timestamp_ms: int) -> bool:
        """Return whether the answer to the last frame that was sent stands for this one."""
        if frame_hash is None or self._hash is None:
            return False
        if timestamp_ms - self._sent_ms >= 1000 * _REFRESH_S:
            return False
        return (frame_hash ^ self._hash).bit_count() <= self._bits_max

    def sent(self, frame_hash: int | None, timestamp_ms: int) -> None:
        """Note a frame that is sent."""
        self._hash, self._sent_ms = frame_hash, timestamp_ms
