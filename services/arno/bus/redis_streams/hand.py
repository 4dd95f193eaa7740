"""What one consumer holds: entries in work, and entries finished that Redis has yet to forget."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from arno.bus.ports import Receipt


@dataclass(frozen=True, slots=True)
class _Place:
    channel: str
    position: str


class Hand:
    """The entries that were delivered and not yet removed from Redis. Any thread."""

    def __init__(self) -> None:
        """Begin with nothing in hand."""
        self._changed = threading.Condition()
        self._working: dict[_Place, int] = {}
        self._finished: set[_Place] = set()
        self._epoch = 0
        self.stale_done_count = 0

    @property
    def unfinished_count(self) -> int:
        """How many entries are in work."""
        return len(self._working)

    @property
    def finished_count(self) -> int:
        """How many entries wait to be removed from Redis."""
        return len(self._finished)

    def take(self, channel: str, position: str) -> Receipt | None:
        """Note an entry as in work; None when it is in hand already, so must not go out again."""
        place = _Place(channel, position)
        with self._changed:
            if place in self._working or place in self._finished:
                return None
            self._epoch += 1
            self._working[place] = self._epoch
            return Receipt(channel, 0, position, self._epoch)

    def finish(self, receipt: Receipt) -> None:
        """Note an entry as finished; a receipt that is not in work is stale and ignored."""
        place = _Place(receipt.channel, receipt.position)
        with self._changed:
            if self._working.get(place) != receipt.epoch:
                self.stale_done_count += 1
                return
            del self._working[place]
            self._finished.add(place)
            self._changed.notify_all()

    def drop(self, channel: str, positions: Collection[str]) -> None:
        """Forget entries that have gone to another consumer; their receipts are stale from now."""
        with self._changed:
            for position in positions:
                self._working.pop(_Place(channel, position), None)
            self._changed.notify_all()

    def drop_all(self) -> None:
        """Forget everything that is in work."""
        with self._changed:
            self._working.clear()

    def removed(self, channel: str, positions: Collection[str]) -> None:
        """Note that Redis has forgotten finished entries."""
        with self._changed:
            self._finished -= {_Place(channel, position) for position in positions}

    def working(self) -> Mapping[str, list[str]]:
        """Return the entries in work, by channel."""
        with self._changed:
            return _by_channel(self._working)

    def finished(self) -> Mapping[str, list[str]]:
        """Return the entries to remove from Redis, by channel."""
        with self._changed:
            return _by_channel(self._finished)

    def wait(self, timeout_s: float) -> None:
        """Return when an entry is finished while this waits, or after the timeout."""
        with self._changed:
            if not self._finished:
                self._changed.wait(timeout_s)


def _by_channel(places: Collection[_Place]) -> dict[str, list[str]]:
    positions: dict[str, list[str]] = {}
    for place in places:
        positions.setdefault(place.channel, []).append(place.position)
    return positions
