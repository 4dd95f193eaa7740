"""So many places, and a refusal that says which limit it was."""

from __future__ import annotations

import pytest
from arno.errors import OverloadedError
from arno.gateway.places import Places


def test_refusal_names_the_setting_the_limit_and_what_it_would_have_come_to():
    places = Places("streams", limit_name="streams_max", limit=1, retry_delay_s=2.5)
    with places.hold(), pytest.raises(OverloadedError) as refused, places.hold():
        pass
    assert refused.value.message == (
        "the gateway is full: open streams would be 2; allowed: 1 (streams_max)"
    )
    assert refused.value.retry_delay_s == 2.5
    assert (refused.value.metadata["limit"], refused.value.metadata["wanted"]) == ("1", "2")


def test_place_is_free_again_however_its_block_ends():
    places = Places("calls", limit_name="calls_max", limit=1, retry_delay_s=1)
    with pytest.raises(ZeroDivisionError), places.hold():
        raise ZeroDivisionError
    assert places.taken_count == 0
    with places.hold():
        assert places.taken_count == 1
