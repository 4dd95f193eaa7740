"""Recognise an answer that goes round in circles."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

_PERIOD_MAX: Final = 48
"""Tokens of the longest phrase whose return is noticed."""

_ROUNDS_MIN: Final = 8

_ANY_LOCATION: Final = -1


def goes_round(token_ids: Sequence[int], locations: Collection[int]) -> bool:
    """Return whether the second half of an answer, or more, is one phrase again and again.

    Locations count as equal: the banned repeats of Florence-2's decoding make a loop name the same
    thing at ever new places. But nothing else than locations is an outline, or a row of proposals,
    unless it is the same ones again. Ask it of answers that were cut only, for twenty cars in a row
    may well be twenty cars.

    Args:
        token_ids: The answer, without the end that was forced on it.
        locations: The location tokens' ids.
    """
    tail = list(token_ids[len(token_ids) // 2 :])
    if not all(token in locations for token in tail):
        tail = [_ANY_LOCATION if token in locations else token for token in tail]
    for period in range(1, min(_PERIOD_MAX, len(tail) // _ROUNDS_MIN) + 1):
        if all(tail[i] == tail[i + period] for i in range(len(tail) - period)):
            return True
    return False
