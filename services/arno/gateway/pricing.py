"""Predict what a request will cost the workers, before anything of it is done. Pure.

The unit is that of `arno.batching.costs`: the token of one beam. The prediction is made once, here,
and travels in the job's record; workers report how much of it they get done in a second. So it only
has to be right in proportion: what it misses altogether, the reported pace makes up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from arno.api.v1 import types_pb2
from arno.batching import IMAGE_TOKENS, AnswerLengths
from arno.errors import InvalidFieldError
from arno.vocabulary import Task
from arno.vocabulary.costs import EXPECTED_TOKENS
from arno.vocabulary.wire import task_from_wire

_BEAMS: Final = 3
_FAN_OUT: Final = 4
"""Regions that an answer is expected to hold, for tasks that follow each of them."""

_LENGTHS: Final = AnswerLengths(EXPECTED_TOKENS)
_DEAREST: Final = max(EXPECTED_TOKENS, key=lambda task: EXPECTED_TOKENS[task])


def predicted_cost(tasks: Sequence[types_pb2.TaskSpec]) -> float:
    """Return the cost of a request: one image, and each of its tasks.

    Tasks need not be valid; what is no task at all counts as the dearest one.
    """
    return IMAGE_TOKENS + sum(map(_cost, tasks))


def _cost(spec: types_pb2.TaskSpec) -> float:
    options = spec.options
    beams = options.num_beams if options.HasField("num_beams") else _BEAMS
    limit = options.max_new_tokens if options.HasField("max_new_tokens") else None
    times = max(1, min(_FAN_OUT, spec.fan_out_max or _FAN_OUT)) if spec.input_from else 1
    return times * _LENGTHS.cost(_task(spec.task), beams=max(1, beams), limit=limit)


def _task(number: int) -> Task:
    try:
        return task_from_wire(number)
    except InvalidFieldError:
        return _DEAREST
