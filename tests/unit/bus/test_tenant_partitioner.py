"""How the records of many senders are spread over the partitions of a topic."""

from __future__ import annotations

from collections import Counter

import pytest
from arno.bus.kafka.publisher import TenantPartitioner
from hypothesis import given
from hypothesis import strategies as st


def homes(partitioner: TenantPartitioner, tenant: str, count: int = 200) -> Counter[int]:
    return Counter(partitioner.choose(tenant) for _ in range(count))


def test_tenant_keeps_to_its_share_of_the_partitions_and_uses_them_evenly():
    found = homes(TenantPartitioner(range(12), 0.5), "acme", 120)
    assert len(found) == 6
    assert set(found.values()) == {20}


def test_gateways_agree_on_the_partitions_of_a_tenant():
    assert homes(TenantPartitioner(range(12), 0.5), "acme") == homes(
        TenantPartitioner(range(12), 0.5), "acme"
    )


def test_flood_of_one_tenant_leaves_another_an_empty_partition():
    partitioner = TenantPartitioner(range(12), 0.5)
    homes(partitioner, "flood", 10_000)
    lengths = Counter(homes(TenantPartitioner(range(12), 0.5), "flood", 10_000))
    assert all(lengths[partitioner.choose("other")] == 0 for _ in range(50))


def test_what_the_bus_says_replaces_what_was_counted():
    partitioner = TenantPartitioner(range(4), 1.0)
    partitioner.update({0: 5, 1: 5, 2: 0, 3: 5})
    assert [partitioner.choose("acme") for _ in range(5)] == [2] * 5
    partitioner.update(dict.fromkeys(range(4), 9))
    assert len(homes(partitioner, "acme", 4)) == 4


def test_partitions_that_were_added_are_used():
    partitioner = TenantPartitioner(range(2), 1.0)
    partitioner.update(dict.fromkeys(range(4), 0))
    assert set(homes(partitioner, "acme")) == set(range(4))


@given(st.text(max_size=20), st.integers(1, 40), st.floats(0.01, 1.0))
def test_every_tenant_has_a_partition(tenant: str, partition_count: int, share: float):
    assert 0 <= TenantPartitioner(range(partition_count), share).choose(tenant) < partition_count


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_two_tenants_seldom_share_all_their_partitions(share: float):
    found = [
        frozenset(homes(TenantPartitioner(range(12), share), f"tenant-{n}", 24)) for n in range(100)
    ]
    alike = sum(one == other for n, one in enumerate(found) for other in found[:n])
    assert alike / (100 * 99 / 2) < 0.02


def test_tenant_waits_for_the_records_of_its_emptiest_partition_only():
    partitioner = TenantPartitioner(range(12), 0.5)
    assert partitioner.share_ahead("flood") == 1.0
    homes(partitioner, "flood", 10_000)
    assert partitioner.share_ahead("flood") == 1.0
    assert partitioner.share_ahead("other") == 0.0
    partitioner.update(dict.fromkeys(range(12), 9))
    assert partitioner.share_ahead("other") == 1.0
