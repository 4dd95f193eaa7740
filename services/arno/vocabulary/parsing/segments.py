"""Cut a token sequence into runs of text, runs of locations, and markers.

This is the only place that looks at token ids. Above it, parsers see what was said; since they
never see text that merely looks like a token (a sign that reads `<loc_5>`, say), no image can forge
a region.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import groupby, repeat
from typing import TypeAlias

from arno.vocabulary.decoded import Decoded
from arno.vocabulary.token_table import TokenTable


@dataclass(frozen=True, slots=True)
class TextRun:
    """Words between locations and markers.

    Attributes:
        text: The words.
        logprobs: The log-probs of their tokens.
        end_chance: The probability of the end in place of the first of them; NaN if missing.
    """

    text: str
    logprobs: tuple[float, ...] = ()
    end_chance: float = math.nan


@dataclass(frozen=True, slots=True)
class LocationRun:
    """Location tokens in a row: their bins (0..999), and as many of each of the other numbers."""

    bins: tuple[int, ...]
    logprobs: tuple[float, ...]
    deviations: tuple[float, ...]
    end_chances: tuple[float, ...]

    def cut(self, start: int, stop: int) -> "LocationRun":
        """Return a part of the run."""
        part = slice(start, stop)
        return LocationRun(
            self.bins[part], self.logprobs[part], self.deviations[part], self.end_chances[part]
        )

    def begun_by(self, marker: "Marker") -> "LocationRun":
        """Return the run as one that begins where a marker stands before it."""
        return replace(self, end_chances=(marker.end_chance, *self.end_chances[1:]))

    def groups(self, count: int) -> Iterator["LocationRun"]:
        """Yield the run in groups of `count` locations; an incomplete last one is left out."""
        for start in range(0, len(self.bins) - count + 1, count):
            yield self.cut(start, start + count)


@dataclass(frozen=True, slots=True)
class Marker:
    """One structural token, such as `<poly>`, and the probability of the end in place of it."""

    name: str
    end_chance: float = field(default=math.nan, compare=False)


Segment: TypeAlias = TextRun | LocationRun | Marker


class _Kind(Enum):
    TEXT = auto()
    LOCATION = auto()
    MARKER = auto()


@dataclass(frozen=True, slots=True)
class _Token:
    id: int
    logprob: float
    deviation: float
    end_chance: float


def split(decoded: Decoded, token_table: TokenTable) -> tuple[Segment, ...]:
    """Return the segments of a sequence, in order, in time linear in its length.

    Begin, end and padding tokens vanish without ending a run. Missing numbers
    become NaN.
    """
    logprobs: Iterable[float] = decoded.logprobs or repeat(math.nan)
    deviations: Iterable[float] = decoded.deviations or repeat(math.nan)
    end_chances: Iterable[float] = decoded.end_chances or repeat(math.nan)
    tokens = (
        _Token(token_id, *numbers)
        for token_id, *numbers in zip(
            decoded.token_ids, logprobs, deviations, end_chances, strict=False
        )
        if not token_table.is_special(token_id)
    )
    runs = groupby(tokens, key=lambda token: _kind(token, token_table))
    return tuple(
        segment for kind, run in runs for segment in _segments(kind, tuple(run), token_table)
    )


def _kind(token: _Token, token_table: TokenTable) -> _Kind:
    if token_table.location_bin(token.id) is not None:
        return _Kind.LOCATION
    return _Kind.TEXT if token_table.marker(token.id) is None else _Kind.MARKER


def _segments(kind: _Kind, run: tuple[_Token, ...], token_table: TokenTable) -> Iterator[Segment]:
    token_ids = [token.id for token in run]
    logprobs = tuple(token.logprob for token in run)
    match kind:
        case _Kind.TEXT:
            yield TextRun(token_table.decode(token_ids), logprobs, run[0].end_chance)
        case _Kind.LOCATION:
            first = token_table.first_location_id
            bins = tuple(token_id - first for token_id in token_ids)
            deviations = tuple(token.deviation for token in run)
            end_chances = tuple(token.end_chance for token in run)
            yield LocationRun(bins, logprobs, deviations, end_chances)
        case _Kind.MARKER:
            yield from (Marker(token_table.decode([token.id]), token.end_chance) for token in run)
