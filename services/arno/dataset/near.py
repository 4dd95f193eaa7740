"""Find near-duplicates among perceptual hashes, without comparing all pairs.

Two hashes of 64 bits that differ in at most d bits are equal in at least one of d + 1 bands of
bits, so only hashes that share a band are compared (Norouzi, Punjani and Fleet 2012: multi-index
hashing).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

HASH_BITS: Final = 64
Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
_BLOCK: Final = 2048
"""Members of a band that are compared at a time: bounds the memory."""


def near_groups(hashes: Hashes, distance_max: int) -> Numbers:
    """Return for each image the number of the first image that it is a duplicate of. [N].

    Duplicates of duplicates belong together. An image without any is its own first.

    Args:
        hashes: Perceptual hashes. [N]
        distance_max: Bits in which duplicates may differ.
    """
    parents = np.arange(len(hashes), dtype=np.int64)
    for one, other in near_pairs(hashes, distance_max):
        low, high = sorted((_root(parents, one), _root(parents, other)))
        parents[high] = low
    return np.array([_root(parents, at) for at in range(len(hashes))], dtype=np.int64)


def near_pairs(hashes: Hashes, distance_max: int) -> list[tuple[int, int]]:
    """Return all pairs that differ in at most so many bits, each once, the lower number first."""
    pairs: set[tuple[int, int]] = set()
    for first, last in _bands(distance_max + 1):
        mask = np.uint64((1 << (last - first)) - 1)
        keys = (hashes >> np.uint64(first)) & mask
        order = np.argsort(keys, kind="stable")
        cuts = np.flatnonzero(np.diff(keys[order])) + 1
        for members in np.split(order, cuts):
            if len(members) > 1:
                pairs.update(_within(hashes, members, distance_max))
    return sorted(pairs)


def _within(hashes: Hashes, members: Numbers, distance_max: int) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for start in range(0, len(members), _BLOCK):
        rows = members[start : start + _BLOCK]
        apart = np.bitwise_count(hashes[rows, None] ^ hashes[members[None, start:]])
        for row, column in zip(*np.nonzero(apart <= distance_max), strict=True):
            one, other = int(rows[row]), int(members[start + column])
            if one != other:
                found.add((min(one, other), max(one, other)))
    return found


def _bands(count: int) -> Sequence[tuple[int, int]]:
    edges = [HASH_BITS * at // count for at in range(count + 1)]
    return list(itertools.pairwise(edges))


def _root(parents: Numbers, at: int) -> int:
    while parents[at] != at:
        parents[at] = parents[parents[at]]
        at = int(parents[at])
    return at
