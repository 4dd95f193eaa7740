"""A tenant that has worked for longer than its share rests while others are active."""

from __future__ import annotations

import pytest
from arno.batching import Debts, RecentTenants
from arno.batching.debts import ACTIVE_S

SHARE, BURST_S = 0.25, 2.0


def with_others(share: float = SHARE) -> Debts:
    recent = RecentTenants()
    for tenant in ("flood", "people"):
        recent.note(tenant, 0.0)
    return Debts(share, burst_s=BURST_S, recent=recent)


def test_burst_is_free_and_what_is_above_it_is_rested_for() -> None:
    debts = with_others()
    debts.charge("flood", 0.5, 0.0)
    assert debts.rest_s("flood", 0.0) == 0
    debts.charge("flood", 0.1, 0.0)
    assert debts.rest_s("flood", 0.0) == pytest.approx(0.4)
    assert debts.rest_s("people", 0.0) == 0


def test_work_takes_its_share_of_the_time() -> None:
    debts, now_s, worked_s = with_others(), 0.0, 0.0
    debts._recent.note("people", 4.0)
    while now_s < 8.0:
        now_s += 0.01
        worked_s += 0.01
        debts.charge("flood", 0.01, now_s)
        now_s += debts.rest_s("flood", now_s)
    assert worked_s == pytest.approx(SHARE * (8.0 + BURST_S), rel=0.02)


def test_tenant_that_is_alone_neither_rests_nor_saves_debts_up() -> None:
    recent = RecentTenants()
    debts = Debts(SHARE, burst_s=BURST_S, recent=recent)
    recent.note("flood", 0.0)
    debts.charge("flood", 100.0, 0.0)
    assert debts.rest_s("flood", 0.0) == 0
    recent.note("people", 0.0)
    assert debts.rest_s("flood", 0.0) == 0
    debts.charge("flood", 0.1, 0.0)
    assert debts.rest_s("flood", 0.0) == pytest.approx(0.4)


def test_other_tenant_counts_as_active_for_a_while() -> None:
    debts = with_others()
    debts.charge("flood", 100.0, 0.0)
    assert debts.rest_s("flood", ACTIVE_S - 0.1) > 0
    assert debts.rest_s("flood", ACTIVE_S + 0.1) == 0


def test_whole_share_is_never_rested_for() -> None:
    debts = with_others(1.0)
    debts.charge("flood", 100.0, 0.0)
    assert debts.rest_s("flood", 0.0) == 0


def test_tenants_that_are_gone_are_forgotten() -> None:
    recent = RecentTenants()
    debts = Debts(SHARE, burst_s=BURST_S, recent=recent)
    for number in range(5000):
        tenant = f"t{number}"
        recent.note(tenant, float(number))
        debts.charge(tenant, 1.0, float(number))
    assert len(recent._seen_s) <= ACTIVE_S + 1
    assert len(debts._owed) <= 1024
