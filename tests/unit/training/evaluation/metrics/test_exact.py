"""A short answer is right or wrong."""

from __future__ import annotations

import pytest
from arno.training.evaluation.metrics.texts import is_right


@pytest.mark.parametrize("said", ["traffic light", "Traffic  Light", " traffic light. "])
def test_case_spaces_and_a_full_stop_do_not_count(said):
    assert is_right(said, ["car", "traffic light"])


@pytest.mark.parametrize("said", ["", "light", "traffic lights", "a traffic light"])
def test_everything_else_counts(said):
    assert not is_right(said, ["traffic light"])
