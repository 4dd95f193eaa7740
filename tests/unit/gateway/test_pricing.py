"""What requests are predicted to cost."""

from __future__ import annotations

from arno.api.v1 import types_pb2
from arno.batching import IMAGE_TOKENS
from arno.gateway.pricing import predicted_cost
from arno.vocabulary.costs import EXPECTED_TOKENS


def spec(task: types_pb2.Task.ValueType = types_pb2.TASK_CAPTION, **fields: object):
    return types_pb2.TaskSpec(task=task, **fields)


def decoding(*tasks: types_pb2.TaskSpec) -> float:
    return predicted_cost(tasks) - IMAGE_TOKENS


def test_one_image_is_paid_for_once_and_every_task_by_itself():
    assert decoding(spec(), spec()) == 2 * decoding(spec())


def test_beams_and_token_limits_count():
    greedy = types_pb2.GenerationOptions(num_beams=1)
    short = types_pb2.GenerationOptions(max_new_tokens=5)
    assert decoding(spec()) == 3 * decoding(spec(options=greedy))
    assert decoding(spec(types_pb2.TASK_OD, options=short)) == 15


def test_task_that_follows_regions_is_paid_for_each_of_them():
    one = spec(types_pb2.TASK_REGION_TO_CATEGORY)
    followed = spec(types_pb2.TASK_REGION_TO_CATEGORY, input_from="0")
    assert decoding(followed) == 4 * decoding(one)
    assert decoding(spec(types_pb2.TASK_OCR, input_from="0", fan_out_max=1)) == decoding(
        spec(types_pb2.TASK_OCR)
    )


def test_what_is_no_task_is_taken_for_the_dearest():
    unknown = types_pb2.TaskSpec.FromString(b"\x10\x7f")
    assert decoding(unknown) == 3 * max(EXPECTED_TOKENS.values())


def test_hostile_numbers_never_make_work_free():
    options = types_pb2.GenerationOptions(num_beams=-7, max_new_tokens=-1)
    assert decoding(spec(options=options, input_from="x", fan_out_max=-5)) > 0
