"""The figures of a verdict, and that a run which proves nothing is not a good one."""

from __future__ import annotations

import pytest
from chaos.checker import Violation
from chaos.history import History, Outcome, Request, Verb
from chaos.schedule import Disruption, Nemesis, Part
from chaos.verdict import StoreCounts, Verdict, judge


def disruption(at_s: float, part: Part) -> Disruption:
    return Disruption(at_s, part, 0, Nemesis.KILL, 0.0)


def history(accepted_at_s: tuple[float, ...], answered_at_s: tuple[float, ...]) -> History:
    made = History()
    for number, (accepted_s, answered_s) in enumerate(
        zip(accepted_at_s, answered_at_s, strict=True)
    ):
        made.request(number, Request(f"key-{number}", durable=True, life_s=60.0))
        submit = made.invoke(number, Verb.SUBMIT)
        submit.invoked_s = submit.ended_s = accepted_s
        submit.outcome, submit.job_id = Outcome.OK, f"job-{number}"
        made.now_s = lambda at_s=answered_s: at_s  # type: ignore[method-assign, misc]
        get = made.invoke(number, Verb.GET, f"job-{number}")
        made.read(get, "SUCCEEDED", digest="a")
        made.end(get, Outcome.OK)
    return made


def verdict_of(made: History, *disruptions: Disruption) -> Verdict:
    done = {(Part.REDIS, Nemesis.KILL): 1}
    return judge(made, disruptions, done=done, store=StoreCounts(0, 0), began_s=0.0)


def test_run_in_which_all_was_answered_is_kept() -> None:
    verdict = verdict_of(history((1.0, 2.0), (3.0, 4.0)), disruption(0.0, Part.REDIS))
    assert verdict.kept
    assert (verdict.accepted, verdict.waited, verdict.kill_count) == (2, 0, 1)


def test_violation_breaks_the_verdict_and_is_named() -> None:
    made = history((1.0,), (3.0,))
    made.leaked("one job")
    verdict = verdict_of(made)
    assert not verdict.kept
    assert verdict.broken("leak") == [Violation("leak", -1, "one job")]
    report = "\n".join(verdict.lines())
    assert "BROKEN" in report
    assert "one job" in report


def test_run_that_accepted_nothing_proves_nothing() -> None:
    assert not verdict_of(History()).kept


def test_silence_after_a_disruption_is_what_was_felt() -> None:
    made = history((1.0, 1.2, 1.3, 1.3, 1.3), (1.0, 1.1, 4.6, 4.7, 30.0))
    verdict = verdict_of(
        made,
        disruption(1.05, Part.BROKER),
        disruption(4.65, Part.WORKER),
        disruption(5.0, Part.REDIS),
    )
    felt = {outage.disruption.part: outage for outage in verdict.outages}
    assert felt[Part.BROKER].answering_s == pytest.approx(3.5)
    assert felt[Part.BROKER].accepting_s == pytest.approx(0.2)
    assert felt[Part.WORKER].answering_s == pytest.approx(25.3)
