"""What requests are predicted to cost."""

from __future__ import annotations

from typing import Any

from arno.batching import IMAGE_TOKENS
from arno.gateway.backlog import predicted_cost
from arno.vocabulary import Task, TaskSpec


def spec(task: Task = Task.CAPTION, **fields: Any) -> TaskSpec:
    return TaskSpec(task, **fields)


def decoding(*tasks: TaskSpec) -> float:
    return predicted_cost(tasks) - IMAGE_TOKENS


def test_one_image_is_paid_for_once_and_every_task_by_itself():
    assert decoding(spec(), spec()) == 2 * decoding(spec())


def test_beams_and_token_limits_count():
    assert decoding(spec()) == 3 * decoding(spec(num_beams=1))
    assert decoding(spec(Task.OD, max_new_tokens=5)) == 15


def test_task_that_follows_regions_is_paid_for_each_of_them():
    one = spec(Task.REGION_TO_CATEGORY)
    followed = spec(Task.REGION_TO_CATEGORY, input_from="0")
    assert decoding(followed) == 4 * decoding(one)
    assert decoding(spec(Task.OCR, input_from="0", fan_out_max=1)) == decoding(spec(Task.OCR))


def test_hostile_numbers_never_make_work_free():
    hostile = spec(num_beams=-7, max_new_tokens=-1, input_from="x", fan_out_max=-5)
    assert decoding(hostile) > 0
