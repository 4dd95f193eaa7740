"""Recognise an answer that ends in a loop.

Stands alone: pure, and tested without a model.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

_PERIOD_MAX: Final = 48
"""Longest phrase, in tokens, whose repetition is recognised."""

_ROUNDS_MIN: Final = 8

_ANY_LOCATION: Final = -1


def ends_in_loop(token_ids: Sequence[int], locations: Collection[int]) -> bool:
    """Return whether the second half of an answer, or more, is one phrase over and over.

    All locations count as equal, because Florence-2's ban on repeats makes a loop name the same
    thing at ever new places. But a second half of locations only is an outline, or a row of
    proposals, unless the same ones come again. Use it for answers that were cut at their limit
    only: twenty cars in a row may well be twenty cars.

    Args:
        token_ids: The answer, without a forced end.
        locations: Ids of the location tokens.
    """
    tail = list(token_ids[len(token_ids) // 2 :])
    if not all(token in locations for token in tail):
        tail = [_ANY_LOCATION if token in locations else token for token in tail]
    for period in range(1, min(_PERIOD_MAX, len(tail) // _ROUNDS_MIN) + 1):
        if all(tail[i] == tail[i + period] for i in range(len(tail) - period)):
            return True
    return False
