"""No commit ever passes an unfinished offset."""

from __future__ import annotations

from arno.bus.offsets import CommitPoint, OffsetLedger, OffsetTracker
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Offsets with gaps, in the order of the log, and the order in which they finish."""
    gaps = draw(st.lists(st.integers(1, 5), min_size=1, max_size=40))
    offset = draw(st.integers(0, 1000))
    offsets = []
    for gap in gaps:
        offset += gap
        offsets.append(offset)
    return offsets, draw(st.permutations(offsets))


@given(histories(), st.randoms(use_true_random=False))
def test_position_never_passes_an_unfinished_offset(history, random) -> None:  # type: ignore[no-untyped-def]
    offsets, finish_order = history
    tracker = OffsetTracker(epoch=1)
    waiting, unfinished, finished = list(offsets), set(), set()
    finishing = list(finish_order)
    previous = -1
    while waiting or unfinished:
        ready = [offset for offset in finishing if offset in unfinished]
        if waiting and (not ready or random.random() < 0.5):
            unfinished.add(waiting[0])
            assert tracker.receive(waiting.pop(0))
        else:
            unfinished.remove(ready[0])
            finished.add(ready[0])
            assert tracker.finish(ready[0])
        position = tracker.position()
        assert position is not None
        assert all(position <= offset for offset in unfinished)
        assert {offset for offset in offsets if offset < position} <= finished
        assert position >= previous
        previous = position
        assert tracker.unfinished_count == len(unfinished)
    assert tracker.position() == offsets[-1] + 1


def test_nothing_received_means_nothing_to_commit() -> None:
    assert OffsetTracker(epoch=1).position() is None


def test_offset_in_hand_is_not_received_twice() -> None:
    tracker = OffsetTracker(epoch=1)
    assert tracker.receive(7)
    assert not tracker.receive(7)
    assert tracker.finish(7)
    assert not tracker.finish(7)


def test_truncated_log_that_is_written_anew_is_delivered_anew() -> None:
    tracker = OffsetTracker(epoch=1)
    for offset in (5, 6):
        tracker.receive(offset)
        tracker.finish(offset)
    assert tracker.receive(5)
    assert tracker.position() == 5
    tracker.finish(5)
    assert tracker.position() == 7


def test_receipt_of_an_earlier_assignment_is_stale() -> None:
    ledger: OffsetLedger[str] = OffsetLedger()
    ledger.assign(["p"])
    old = ledger.receive("p", 3)
    assert old is not None
    ledger.revoke(["p"])
    assert not ledger.finish("p", 3, old)
    ledger.assign(["p"])
    new = ledger.receive("p", 3)
    assert new is not None
    assert not ledger.finish("p", 3, old)
    assert ledger.unfinished_count() == 1
    assert ledger.finish("p", 3, new)


def test_record_of_a_partition_that_left_is_not_delivered() -> None:
    ledger: OffsetLedger[str] = OffsetLedger()
    assert ledger.receive("p", 1) is None


def test_completion_during_a_commit_is_due_afterwards() -> None:
    ledger: OffsetLedger[str] = OffsetLedger()
    ledger.assign(["p"])
    epoch = ledger.receive("p", 0)
    assert epoch is not None
    ledger.receive("p", 1)
    ledger.finish("p", 0, epoch)
    sent = ledger.due()
    assert sent == {"p": CommitPoint(1, epoch)}
    ledger.finish("p", 1, epoch)
    ledger.committed(sent)
    assert ledger.due() == {"p": CommitPoint(2, epoch)}
    ledger.committed(ledger.due())
    assert ledger.due() == {}


def test_answer_to_a_commit_of_an_earlier_assignment_is_ignored() -> None:
    ledger: OffsetLedger[str] = OffsetLedger()
    ledger.assign(["p"])
    epoch = ledger.receive("p", 0)
    assert epoch is not None
    ledger.finish("p", 0, epoch)
    sent = ledger.due()
    ledger.assign(["p"])
    ledger.receive("p", 1)
    ledger.committed(sent)
    assert ledger.due()["p"].position == 1


def test_only_the_partitions_asked_for_are_due() -> None:
    ledger: OffsetLedger[str] = OffsetLedger()
    ledger.assign(["p", "q"])
    ledger.receive("p", 4)
    ledger.receive("q", 9)
    assert list(ledger.due(["q"])) == ["q"]
    assert ledger.unfinished_count(["q"]) == 1
    assert ledger.position("q") == 9
    assert ledger.position("unknown") is None
