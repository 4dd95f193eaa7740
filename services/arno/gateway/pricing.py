"""Predict what a request will cost the workers, before anything of it is done. Pure.

The unit is that of `arno.batching.costs`: the token of one beam. The prediction is made once, here,
and travels in the job's record; workers report how much of it they get done in a second. So it only
has to be right in proportion: what it misses altogether, the reported pace makes up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from arno.batching import IMAGE_TOKENS, AnswerLengths
from arno.vocabulary import TaskSpec
from arno.vocabulary.costs import EXPECTED_TOKENS

_BEAMS: Final = 3
_FAN_OUT: Final = 4
"""Regions that an answer is expected to hold, for tasks that follow each of them."""

_LENGTHS: Final = AnswerLengths(EXPECTED_TOKENS)


def predicted_cost(tasks: Sequence[TaskSpec]) -> float:
    """Return the cost of a request: one image, and each of its tasks."""
    return IMAGE_TOKENS + sum(map(_cost, tasks))


def _cost(spec: TaskSpec) -> float:
    beams = _BEAMS if spec.num_beams is None else spec.num_beams
    times = max(1, min(_FAN_OUT, spec.fan_out_max or _FAN_OUT)) if spec.input_from else 1
    return times * _LENGTHS.cost(spec.task, beams=max(1, beams), limit=spec.max_new_tokens)
