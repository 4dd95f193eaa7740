"""Which sequences are in the engine: deadlines that come, and cancels."""

from __future__ import annotations

import tracemalloc

import pytest
from arno.engine.sequences.sequence import Sequence, SequenceStage, SequenceTable
from hypothesis import given
from hypothesis import strategies as st
from support.sequences import sequence

DAY_S = 86_400.0


def names(sequences: list[Sequence]) -> list[str]:
    return [each.sequence_id for each in sequences]


def test_what_has_ended_is_not_kept_until_its_deadline():
    table = SequenceTable()
    table.add(sequence("waits", deadline_s=DAY_S))
    tracemalloc.start()
    try:
        for number in range(5_000):
            short = sequence(str(number), deadline_s=DAY_S + number)
            table.add(short)
            table.remove(short)
        grown_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown_bytes < 150_000


def test_deadline_of_one_among_many_that_have_ended_is_met():
    table = SequenceTable()
    late = sequence("late", deadline_s=5.0)
    table.add(late)
    for number in range(2_000):
        short = sequence(str(number), deadline_s=1.0 + number)
        table.add(short)
        table.remove(short)
    assert table.take_expired(0.0) == []
    assert table.take_expired(6.0) == [late]


def test_deadline_of_an_ended_sequence_is_not_that_of_the_next_one_of_its_id():
    table = SequenceTable()
    first, second = sequence("s", deadline_s=1.0), sequence("s", deadline_s=5.0)
    table.add(first)
    table.remove(first)
    table.add(second)
    assert table.take_expired(2.0) == []
    assert table.take_expired(5.0) == [second]


def test_cancelled_sequences_are_found_once_in_order_of_arrival():
    table = SequenceTable()
    for name in "abc":
        table.add(sequence(name))
    for name in "ca?":
        table.cancel(name)
    assert names(table.take_cancelled()) == ["a", "c"]
    assert table.take_cancelled() == []


def test_a_cancel_of_an_ended_sequence_does_not_reach_the_next_one_of_its_id():
    table = SequenceTable()
    first = sequence("s")
    table.add(first)
    table.cancel("s")
    table.remove(first)
    table.add(sequence("s"))
    assert table.take_cancelled() == []
    assert first.stage is SequenceStage.ENDED


def test_an_id_in_use_is_refused():
    table = SequenceTable()
    table.add(sequence("s"))
    with pytest.raises(ValueError, match="'s' is in the engine already"):
        table.add(sequence("s"))


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("add"), st.integers(0, 3), st.one_of(st.none(), st.floats(0.0, 10.0))
            ),
            st.tuples(st.just("end"), st.integers(0, 3), st.none()),
            st.tuples(st.just("wait"), st.integers(0, 3), st.none()),
        ),
        max_size=40,
    )
)
def test_a_sequence_expires_exactly_when_its_deadline_has_come(acts):
    """Whatever ended before, under the same id and with the same deadline."""
    table, now_s, live = SequenceTable(), 0.0, {}
    for act, number, patience_s in acts:
        name = str(number)
        if act == "add" and name not in live:
            deadline_s = None if patience_s is None else now_s + patience_s
            live[name] = sequence(name, deadline_s=deadline_s)
            table.add(live[name])
        elif act == "end" and name in live:
            table.remove(live.pop(name))
        elif act == "wait":
            now_s += number
        expired = table.take_expired(now_s)
        assert len(expired) == len(set(expired))
        assert set(expired) == {each for each in live.values() if each.expired(now_s)}
        for each in expired:
            table.remove(live.pop(each.sequence_id))
    assert set(table) == set(live.values())
