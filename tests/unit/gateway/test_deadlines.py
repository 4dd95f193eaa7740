"""How the time of a call is divided."""

from __future__ import annotations

import pytest
from arno.errors import DeadlineExceededError
from arno.gateway.inference import TimeBudget, time_budget
from arno.gateway.settings import GatewayLimits

LIMITS = GatewayLimits(default_deadline_s=30, deadline_s_max=100, answer_margin_s=0.5)


@pytest.mark.parametrize(
    ("remaining_s", "budget"),
    [
        pytest.param(10, TimeBudget(9.5, 9.75), id="the margin is taken from the call's deadline"),
        pytest.param(1, TimeBudget(0.8, 0.9), id="a short call gives a fifth"),
        pytest.param(None, TimeBudget(29.5, 29.75), id="the default stands in"),
        pytest.param(5000, TimeBudget(99.5, 99.75), id="the maximum holds"),
    ],
)
def test_work_ends_before_the_answer_and_the_answer_before_the_deadline(remaining_s, budget):
    found = time_budget(remaining_s, limits=LIMITS)
    assert found.work_s == pytest.approx(budget.work_s)
    assert found.answer_s == pytest.approx(budget.answer_s)


def test_call_whose_deadline_has_passed_is_refused():
    with pytest.raises(DeadlineExceededError):
        time_budget(0, limits=LIMITS)
