"""A tenant is refused above its quota and nobody else is; what was held is given back."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from arno.errors import QuotaExceededError
from arno.gateway.access.key_file import TenantLimits
from arno.gateway.access.quotas import TenantQuotas
from hypothesis import given
from hypothesis import strategies as st
from support.clock import ManualClock


def quotas(clock=None, share=1.0, **tenants):
    return TenantQuotas(
        lambda tenant: tenants.get(tenant, TenantLimits()),
        share=share,
        retry_delay_s=0.5,
        clock=clock or ManualClock(),
    )


def test_job_above_the_quota_is_refused_and_other_tenants_are_served():
    book = quotas(acme=TenantLimits(jobs_in_flight=2))
    with book.hold("acme", 1), book.hold("acme", 1):
        with (
            pytest.raises(QuotaExceededError, match="jobs_in_flight") as caught,
            book.hold("acme", 1),
        ):
            pass
        with book.hold("other", 1):
            pass
    assert caught.value.metadata == {
        "quota": "jobs_in_flight",
        "limit": "2",
        "wanted": "3",
        "retry_delay_s": "0.5",
    }
    with book.hold("acme", 1):
        pass


def test_place_is_given_back_when_the_job_fails():
    book = quotas(acme=TenantLimits(jobs_in_flight=1))
    for _ in range(3):
        with pytest.raises(RuntimeError), book.hold("acme", 1):
            raise RuntimeError


def test_bytes_are_counted_but_one_image_always_fits():
    book = quotas(acme=TenantLimits(bytes_in_flight=100))
    with book.hold("acme", 500):
        pass
    with book.hold("acme", 60):
        with book.hold("acme", 40):
            pass
        with pytest.raises(QuotaExceededError) as caught, book.hold("acme", 41):
            pass
    assert (caught.value.metadata["quota"], caught.value.metadata["wanted"]) == (
        "bytes_in_flight",
        "101",
    )


def test_quiet_tenant_may_spend_one_second_at_once_and_then_its_rate():
    clock = ManualClock()
    book = quotas(clock, acme=TenantLimits(requests_per_s=10))
    clock.advance(1000)
    for _ in range(10):
        book.spend_request("acme")
    with pytest.raises(QuotaExceededError) as caught:
        book.spend_request("acme")
    assert caught.value.retry_delay_s == pytest.approx(0.1)
    clock.advance(0.1)
    book.spend_request("acme")
    with pytest.raises(QuotaExceededError):
        book.spend_request("acme")


def test_rate_below_one_a_second_lets_one_through_now_and_then():
    clock = ManualClock()
    book = quotas(clock, acme=TenantLimits(requests_per_s=0.1))
    book.spend_request("acme")
    with pytest.raises(QuotaExceededError) as caught:
        book.spend_request("acme")
    clock.advance(caught.value.retry_delay_s)
    book.spend_request("acme")


def test_share_divides_every_quota_and_never_down_to_nothing():
    clock = ManualClock()
    limits = TenantLimits(requests_per_s=8, jobs_in_flight=4, bytes_in_flight=400)
    book = quotas(clock, share=0.25, acme=limits, small=TenantLimits(jobs_in_flight=1))
    for _ in range(2):
        book.spend_request("acme")
    with pytest.raises(QuotaExceededError, match="allowed: 2"):
        book.spend_request("acme")
    with book.hold("acme", 1), pytest.raises(QuotaExceededError), book.hold("acme", 1):
        pass
    with book.hold("small", 1):
        pass


def test_a_share_that_changes_counts_from_the_next_job_on():
    book = quotas(share=1.0, acme=TenantLimits(jobs_in_flight=4))
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(book.hold("acme", 1))
        book.grant(0.5)
        with pytest.raises(QuotaExceededError, match="allowed: 2"), book.hold("acme", 1):
            pass
        book.grant(1.0)
        with book.hold("acme", 1):
            pass


@pytest.mark.parametrize("quota", ["calls_open", "streams_open"])
def test_open_calls_are_bounded_by_a_default_that_the_tenants_own_limit_replaces(quota):
    book = TenantQuotas(
        lambda name: TenantLimits(**({quota: 4} if name == "own" else {})),
        share=0.5,
        retry_delay_s=0.5,
        defaults=TenantLimits(**{quota: 3}),
    )
    for tenant, limit in (("own", 2), ("other", 3)):
        with ExitStack() as stack:
            for _ in range(limit):
                stack.enter_context(book.hold_open(tenant, quota))
            with pytest.raises(QuotaExceededError) as caught, book.hold_open(tenant, quota):
                pass
            facts = caught.value.metadata
            assert (facts["quota"], facts["limit"]) == (quota, str(limit))
            assert facts["wanted"] == str(limit + 1)
        with book.hold_open(tenant, quota):
            pass


def test_open_calls_are_not_bounded_without_a_default():
    book = quotas()
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(book.hold_open("acme", "calls_open"))


@given(
    rate=st.floats(0.5, 50),
    gaps_s=st.lists(st.floats(0, 2), min_size=1, max_size=100),
)
def test_no_window_ever_holds_more_than_the_rate_and_one_burst(rate, gaps_s):
    clock = ManualClock()
    book = quotas(clock, acme=TenantLimits(requests_per_s=rate))
    taken_s, delays_s, now_s = [], [0.0], 0.0
    for gap_s in gaps_s:
        clock.advance(gap_s)
        now_s += gap_s
        try:
            book.spend_request("acme")
            taken_s.append(now_s)
        except QuotaExceededError as refused:
            delays_s.append(refused.retry_delay_s)
    assert max(delays_s) <= 1 / rate
    for first, start_s in enumerate(taken_s):
        for last, end_s in enumerate(taken_s[first:], start=1):
            assert last <= max(1, rate) + rate * (end_s - start_s) + 1e-6


@given(
    limits=st.tuples(st.integers(1, 4), st.integers(1, 400)),
    sizes=st.lists(st.integers(1, 300), max_size=12),
)
def test_what_is_held_never_exceeds_a_quota_and_ends_at_nothing(limits, sizes):
    jobs_max, bytes_max = limits
    book = quotas(acme=TenantLimits(jobs_in_flight=jobs_max, bytes_in_flight=bytes_max))
    held = []
    with ExitStack() as stack:
        for size in sizes:
            try:
                stack.enter_context(book.hold("acme", size))
                held.append(size)
            except QuotaExceededError:
                continue
        assert len(held) <= jobs_max
        assert sum(held) <= bytes_max or len(held) == 1
    with book.hold("acme", 10_000):
        pass
