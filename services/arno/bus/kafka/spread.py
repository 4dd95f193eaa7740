"""Which partition a record goes to, so that the flood of one sender leaves room for the others.

A partition is a line: whoever is behind ten thousand records of somebody else waits for all of
them. So records with a key (a tenant) keep to some of the partitions, which the key alone decides,
and among those take the one with the shortest line. Two keys seldom have all of them in common.

This module is pure: no clock, no lock, no Kafka.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final

_KEYS_REMEMBERED: Final = 4096


class Spread:
    """The partitions of one topic, as one publisher sees them. Not thread-safe."""

    def __init__(self, partitions: Collection[int], share: float) -> None:
        """Take the partitions, and which part of them one key may use."""
        self._partitions = tuple(sorted(partitions))
        self._share = share
        self._lengths: Counter[int] = Counter()

    def choose(self, key: str) -> int:
        """Return the partition for a record, and count it there."""
        count = max(1, round(self._share * len(self._partitions)))
        chosen = min(_preferred(key, self._partitions)[:count], key=self._lengths.__getitem__)
        self._lengths[chosen] += 1
        return chosen

    def hear(self, lengths: Mapping[int, int]) -> None:
        """Take how many records of each partition are unfinished; there may be new ones."""
        self._lengths = Counter(lengths)
        self._partitions = tuple(sorted(lengths))


@lru_cache(maxsize=_KEYS_REMEMBERED)
def _preferred(key: str, partitions: tuple[int, ...]) -> tuple[int, ...]:
    # Rendezvous hashing: partitions that are added take places, and none is dealt anew.
    def rank(partition: int) -> bytes:
        return hashlib.sha256(f"{key}/{partition}".encode()).digest()

    return tuple(sorted(partitions, key=rank))
