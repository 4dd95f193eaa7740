"""The judge sees each broken promise: a judge that sees none would let every run pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chaos.ledger import Ledger
from chaos.schedule import Blow, Kind, Strike
from chaos.verdict import StoreCounts, Verdict, judge

STRIKE = Strike(at_s=0.0, kind=Kind.REDIS, index=0, blow=Blow.KILL, down_s=0.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """One job and one call, both as they should be."""
    made = Ledger(tmp_path / "ledger.jsonl")
    made.asked(1, durable=True)
    made.accepted(1, "job-1")
    made.answered(1, end="a")
    made.asked(2, durable=False)
    made.refused(2, "UNAVAILABLE")
    made.answered(2, end="b")
    yield made
    made.close()


def _job(ledger: Ledger) -> None:
    ledger.asked(3, durable=True)
    ledger.accepted(3, "job-3")


def verdict_of(ledger: Ledger) -> Verdict:
    blows = {(Kind.REDIS, Blow.KILL): 1}
    return judge(ledger, [STRIKE], blows=blows, store=StoreCounts(0, 0), began_s=0.0)


def test_run_in_which_all_was_answered_is_kept(ledger: Ledger) -> None:
    ledger.answered(1, end="a")
    verdict = verdict_of(ledger)
    assert verdict.kept
    assert (verdict.accepted, verdict.waited, verdict.kill_count) == (1, 1, 1)


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        (_job, "lost"),
        (lambda ledger: ledger.asked(3, durable=False), "unanswered"),
        (lambda ledger: ledger.answered(1, end="a", fault="said no"), "false"),
        (lambda ledger: ledger.answered(1, end="another"), "twice"),
        (lambda ledger: ledger.accepted(1, "job-2"), "twice"),
        (lambda ledger: ledger.refused(1, "NOT_FOUND"), "strange"),
    ],
    ids=["lost job", "unanswered call", "false answer", "changed end", "two jobs", "odd refusal"],
)
def test_broken_promise_is_found(
    ledger: Ledger, fault: Callable[[Ledger], None], where: str
) -> None:
    fault(ledger)
    verdict = verdict_of(ledger)
    assert not verdict.kept
    assert len(getattr(verdict, where)) == 1
    assert "BROKEN" in "\n".join(verdict.lines())


def test_run_that_accepted_nothing_proves_nothing(tmp_path: Path) -> None:
    empty = Ledger(tmp_path / "empty.jsonl")
    assert not verdict_of(empty).kept
    empty.close()


def test_silence_after_a_blow_is_what_was_felt(ledger: Ledger) -> None:
    ledger.answered_at_s[:] = [1.0, 1.1, 4.6, 4.7, 30.0]
    ledger.accepted_at_s[:] = [1.0, 1.2, 1.3]
    strikes = [
        Strike(at_s, kind, 0, Blow.KILL, 0.0)
        for at_s, kind in ((1.05, Kind.BROKER), (4.65, Kind.WORKER), (5.0, Kind.REDIS))
    ]
    felt = judge(ledger, strikes, blows={}, store=StoreCounts(0, 0), began_s=0.0).felt
    assert felt[Kind.BROKER].answering_s == pytest.approx(3.5)
    assert felt[Kind.BROKER].accepting_s == pytest.approx(0.2)
    assert felt[Kind.WORKER].answering_s == pytest.approx(25.3)
