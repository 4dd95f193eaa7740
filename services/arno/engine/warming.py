"""Run an engine at every width before it is relied on, so that nothing is compiled for a caller."""

from __future__ import annotations

from collections.abc import Iterator

from arno.engine.interface import (
    DecodingOptions,
    Engine,
    PreparedImage,
    SequenceFinished,
    SequenceRequest,
)
from arno.tasks import CATALOGUE, Task

_TOKENS = 48
"""Long enough that the last to join meets the first, short enough for one rounded length."""


def widths(most: int) -> Iterator[int]:
    """Yield 1, 2, 4 and so on, and the most."""
    width = 1
    while width < most:
        yield width
        width *= 2
    yield most


def warm_width(engine: Engine, image: PreparedImage, count: int) -> None:
    """Answer so many requests together, twice: once to warm up, once to record."""
    for turn in range(2):
        for number in range(count):
            engine.submit(
                SequenceRequest(
                    sequence_id=f"warm-{turn}-{number}",
                    image=image,
                    prompt=CATALOGUE[Task.CAPTION].prompt,
                    options=DecodingOptions(max_new_tokens=_TOKENS),
                    deadline_s=None,
                    lane="interactive",
                    tenant="warm-up",
                    expected_token_count=_TOKENS,
                )
            )
        left = count
        while left:
            left -= sum(isinstance(event, SequenceFinished) for event in engine.step())
