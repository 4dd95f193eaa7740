"""The budgets of jobs, bytes and predicted seconds."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from arno.errors import OverloadedError
from arno.gateway.admission import RETRY_DELAY_S_MAX, Admission, Ask, Budgets
from arno.vocabulary import Lane

SHARES = {Lane.INTERACTIVE: 1.0, Lane.STREAM: 0.8, Lane.BATCH: 0.5}


def budgets(jobs_max: int = 10, bytes_max: int = 100) -> Budgets:
    return Budgets(jobs_max, bytes_max, SHARES, dict.fromkeys(Lane, 30.0))


def refusal(admission: Admission, ask: Ask) -> OverloadedError:
    with pytest.raises(OverloadedError) as refused, admission.admit(ask):
        pass
    return refused.value


def test_job_above_the_budget_is_refused_with_the_delay_and_the_figures():
    admission = Admission(budgets(jobs_max=1), retry_delay_s=0.5)
    with admission.admit(Ask(10)):
        refused = refusal(admission, Ask(10))
    assert refused.retry_delay_s == 0.5
    assert (refused.metadata["limit"], refused.metadata["wanted"]) == ("1", "2")


def test_bytes_above_the_budget_are_refused():
    admission = Admission(budgets(), retry_delay_s=1)
    with admission.admit(Ask(60)):
        assert "bytes" in refusal(admission, Ask(41)).message


def test_image_above_the_whole_budget_is_taken_when_nothing_else_is_in_hand():
    admission = Admission(budgets(), retry_delay_s=1)
    with admission.admit(Ask(500)):
        assert admission.statistics().bytes_in_flight == 500


def test_place_is_given_back_however_the_work_ends():
    admission = Admission(budgets(jobs_max=1), retry_delay_s=1)
    with pytest.raises(ValueError, match="boom"), admission.admit(Ask(10)):
        raise ValueError("boom")
    with admission.admit(Ask(10)):
        pass
    found = admission.statistics()
    assert (found.jobs_in_flight, found.bytes_in_flight, found.admitted_count) == (0, 0, 2)


@pytest.mark.parametrize("size_bytes", [0, 10], ids=["jobs", "bytes"])
def test_lower_lanes_are_refused_first_whoever_fills_the_budget(size_bytes: int):
    admission = Admission(budgets(), retry_delay_s=1)
    admitted = []
    with ExitStack() as held:
        for _ in range(10):
            for lane in (Lane.BATCH, Lane.STREAM):
                try:
                    with admission.admit(Ask(size_bytes, lane)):
                        admitted.append(lane)
                except OverloadedError:
                    continue
            held.enter_context(admission.admit(Ask(size_bytes)))
    assert admitted.count(Lane.BATCH) == 5
    assert admitted.count(Lane.STREAM) == 8
    assert admission.statistics().refused_counts.keys() <= {
        (lane, budget)
        for lane in (Lane.BATCH, Lane.STREAM)
        for budget in ("jobs in flight", "image bytes in flight")
    }


def test_job_whose_predicted_wait_is_too_long_is_told_when_there_will_be_room():
    admission = Admission(budgets(), retry_delay_s=1, predicted_wait_s={Lane.INTERACTIVE: 42.0}.get)
    refused = refusal(admission, Ask(10))
    assert refused.retry_delay_s == pytest.approx(12.0)
    assert (refused.metadata["limit"], refused.metadata["wanted"]) == ("30", "42")
    with admission.admit(Ask(10, Lane.STREAM)):
        pass


def test_job_that_would_wait_past_its_deadline_is_refused_before_the_lane_is_full():
    admission = Admission(budgets(), retry_delay_s=1, predicted_wait_s=lambda lane: 5.0)
    with admission.admit(Ask(10, work_s=6.0)):
        refused = refusal(admission, Ask(10, work_s=4.0))
    assert refused.metadata["budget"] == "predicted seconds of waiting"


def test_delay_is_bounded_however_long_the_line():
    admission = Admission(budgets(), retry_delay_s=1, predicted_wait_s=lambda lane: 1e6)
    assert refusal(admission, Ask(10)).retry_delay_s == RETRY_DELAY_S_MAX


def test_bytes_that_wait_to_be_admitted_count_like_those_that_are():
    admission = Admission(budgets(), retry_delay_s=1)
    give_back = admission.keep(Ask(60))
    assert admission.statistics().bytes_in_flight == 60
    assert "bytes" in refusal(admission, Ask(41)).message
    with pytest.raises(OverloadedError):
        admission.keep(Ask(30, Lane.STREAM))  # 90 bytes, of 80 for this lane
    give_back()
    assert admission.statistics().bytes_in_flight == 0
    with admission.admit(Ask(100)):
        pass
