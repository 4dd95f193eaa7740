"""Cut a token sequence into runs of text, runs of locations, and markers.

This is the only place that looks at token ids. Above it, parsers see what was said; since they
never see text that merely looks like a token (a sign that reads `<loc_5>`, say), no image can forge
a region.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby, repeat
from typing import TypeAlias

from arno.vocabulary.decoded import Decoded
from arno.vocabulary.token_table import TokenTable


@dataclass(frozen=True, slots=True)
class TextRun:
    """Words between locations and markers, with the log-probs of their tokens."""

    text: str
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class LocationRun:
    """Location tokens in a row: their bins (0..999), and as many log-probs and deviations."""

    bins: tuple[int, ...]
    logprobs: tuple[float, ...]
    deviations: tuple[float, ...]

    def cut(self, start: int, stop: int) -> "LocationRun":
        """Return a part of the run."""
        return LocationRun(
            self.bins[start:stop], self.logprobs[start:stop], self.deviations[start:stop]
        )

    def groups(self, count: int) -> Iterator["LocationRun"]:
        """Yield the run in groups of `count` locations; an incomplete last one is left out."""
        for start in range(0, len(self.bins) - count + 1, count):
            yield self.cut(start, start + count)


@dataclass(frozen=True, slots=True)
class Marker:
    """One structural token, such as `<poly>`."""

    name: str


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


def split(decoded: Decoded, token_table: TokenTable) -> tuple[Segment, ...]:
    """Return the segments of a sequence, in order, in time linear in its length.

    Begin, end and padding tokens vanish without ending a run. Missing log-probs and
    deviations become NaN.
    """
    logprobs: Iterable[float] = decoded.logprobs or repeat(math.nan)
    deviations: Iterable[float] = decoded.deviations or repeat(math.nan)
    tokens = (
        _Token(token_id, logprob, deviation)
        for token_id, logprob, deviation in zip(
            decoded.token_ids, logprobs, deviations, strict=False
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
            yield TextRun(token_table.decode(token_ids), logprobs)
        case _Kind.LOCATION:
            first = token_table.first_location_id
            bins = tuple(token_id - first for token_id in token_ids)
            yield LocationRun(bins, logprobs, tuple(token.deviation for token in run))
        case _Kind.MARKER:
            yield from (Marker(token_table.decode([token_id])) for token_id in token_ids)
