"""Slots, and a refusal that names the limit."""

from __future__ import annotations

import pytest
from arno.errors import OverloadedError
from arno.gateway.admission import ConcurrencyLimit


def test_refusal_names_the_setting_the_limit_and_what_it_would_have_come_to():
    limit = ConcurrencyLimit("streams", limit_name="streams_max", limit=1, retry_delay_s=2.5)
    with limit.hold(), pytest.raises(OverloadedError) as refused, limit.hold():
        pass
    assert refused.value.message == (
        "the gateway is full: open streams would be 2; allowed: 1 (streams_max)"
    )
    assert refused.value.retry_delay_s == 2.5
    assert (refused.value.metadata["limit"], refused.value.metadata["wanted"]) == ("1", "2")


def test_slot_is_free_again_however_its_block_ends():
    limit = ConcurrencyLimit("calls", limit_name="calls_max", limit=1, retry_delay_s=1)
    with pytest.raises(ZeroDivisionError), limit.hold():
        raise ZeroDivisionError
    assert limit.used_count == 0
    with limit.hold():
        assert limit.used_count == 1
