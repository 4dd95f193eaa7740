"""Near-duplicates among hashes: all pairs, found without comparing all."""

from __future__ import annotations

import numpy as np
import pytest
from arno.dataset import near
from arno.dataset.near import near_groups, near_pairs


@pytest.mark.parametrize("distance", [0, 1, 4, 9])
def test_pairs_are_those_of_comparing_all(distance, monkeypatch):
    monkeypatch.setattr(near, "_BLOCK", 7)
    rng = np.random.default_rng(distance)
    base = rng.integers(0, 2**63, 12, dtype=np.uint64)
    flipped = [one ^ np.uint64(1 << int(rng.integers(64))) for one in base for _ in range(3)]
    noise = rng.integers(0, 2**63, 60, dtype=np.uint64)
    hashes = rng.permutation(np.concatenate([base, base[:3], np.array(flipped), noise]))
    expected = [
        (one, other)
        for one in range(len(hashes))
        for other in range(one + 1, len(hashes))
        if (int(hashes[one]) ^ int(hashes[other])).bit_count() <= distance
    ]
    assert near_pairs(hashes, distance) == expected
    assert expected


def test_duplicates_of_duplicates_belong_to_the_first():
    hashes = np.array([0b1111, 99 << 40, 0b0111, 0b0011, 0b0001], np.uint64)
    assert near_groups(hashes, 1).tolist() == [0, 1, 0, 0, 0]


def test_no_hash_is_no_group():
    assert near_groups(np.zeros(0, np.uint64), 4).tolist() == []
