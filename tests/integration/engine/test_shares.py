"""Sequences get their turns by lane, and by the cost predicted for their tenant."""

from __future__ import annotations

import itertools

import pytest
from arno.engine import DecodingOptions, SequenceProgress
from support.engine_runs import picture, request, run_all, submit_all, until_idle

pytestmark = pytest.mark.model

SHORT = DecodingOptions(num_beams=1, max_new_tokens=3)


def order_of_encoding(engine, count: int) -> list[str]:
    """Return the first sequences whose images are encoded; the rest is left in the engine."""
    begun = (
        event.sequence_id
        for event in until_idle(engine)
        if isinstance(event, SequenceProgress) and event.token_count == 0
    )
    return list(itertools.islice(begun, count))


def test_urgent_lanes_go_first_and_the_batch_lane_still_gets_its_part(make_engine):
    engine = make_engine(admit_sequences_max=1, batch_sequences_max=1)
    image = engine.prepare(picture(0))
    submit_all(engine, [request(f"b{i}", image, "?", SHORT, lane="batch") for i in range(4)])
    submit_all(engine, [request(f"i{i}", image, "?", SHORT) for i in range(40)])
    order = order_of_encoding(engine, 20)
    assert sum(name.startswith("i") for name in order) >= 17
    assert any(name.startswith("b") for name in order)


def test_tenants_share_by_predicted_tokens(make_engine):
    engine = make_engine(admit_sequences_max=1, batch_sequences_max=1)
    image = engine.prepare(picture(0))
    submit_all(engine, [request("first", image, "?", SHORT, tenant="z")])
    run_all(engine)
    options = DecodingOptions(num_beams=1, max_new_tokens=15)
    for name, tokens, count in (("long", 15, 10), ("short", 5, 30)):
        submit_all(
            engine,
            [
                request(f"{name}{i}", image, "?", options, tenant=name, expected_token_count=tokens)
                for i in range(count)
            ],
        )
    order = order_of_encoding(engine, 20)
    assert sum(name.startswith("long") for name in order) == pytest.approx(5, abs=1)


def test_a_new_image_is_part_of_the_price_and_a_known_one_is_not(make_engine):
    """One tenant sends the same image again and again, the other a new one each time."""
    engine = make_engine(admit_sequences_max=1, batch_sequences_max=1)
    same = engine.prepare(picture(0))
    submit_all(engine, [request("first", same, "?", SHORT, tenant="z")])
    run_all(engine)
    for i in range(20):
        for tenant, image in (("same", same), ("new", engine.prepare(picture(100 + i)))):
            engine.submit(request(f"{tenant}{i}", image, "?", SHORT, tenant=tenant))
    order = order_of_encoding(engine, 20)
    assert sum(name.startswith("new") for name in order) <= 2
