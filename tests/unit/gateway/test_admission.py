"""The budget of jobs and bytes."""

from __future__ import annotations

import pytest
from arno.errors import OverloadedError
from arno.gateway.admission import Admission, AdmissionStatistics


def test_job_above_the_budget_is_refused_with_the_delay_and_the_figures():
    admission = Admission(jobs_max=1, bytes_max=100, retry_delay_s=0.5)
    with admission.admit(10), pytest.raises(OverloadedError) as refused, admission.admit(10):
        pass
    assert refused.value.retry_delay_s == 0.5
    assert refused.value.metadata["limit"] == "1"
    assert refused.value.metadata["wanted"] == "2"


def test_bytes_above_the_budget_are_refused():
    admission = Admission(jobs_max=9, bytes_max=100, retry_delay_s=1)
    with admission.admit(60), pytest.raises(OverloadedError, match="bytes"), admission.admit(41):
        pass


def test_image_above_the_whole_budget_is_taken_when_nothing_else_is_in_hand():
    admission = Admission(jobs_max=9, bytes_max=100, retry_delay_s=1)
    with admission.admit(500):
        assert admission.statistics().bytes_in_flight == 500


def test_place_is_given_back_however_the_work_ends():
    admission = Admission(jobs_max=1, bytes_max=100, retry_delay_s=1)
    with pytest.raises(ValueError, match="boom"), admission.admit(10):
        raise ValueError("boom")
    with admission.admit(10):
        pass
    assert admission.statistics() == AdmissionStatistics(
        jobs_in_flight=0, bytes_in_flight=0, admitted_count=2, refused_count=0
    )
