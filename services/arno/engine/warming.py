"""Run an engine at every width before it is relied on, so that nothing is compiled for a caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from arno.engine.interface import (
    DecodingOptions,
    Engine,
    PreparedImage,
    SequenceFinished,
    SequenceRequest,
)
from arno.vocabulary import CATALOGUE, Task

_TOKENS = 48
"""Long enough that the last to join meets the first, short enough for one rounded length."""


def widths(most: int) -> Iterator[int]:
    """Yield 1, 2, 4 and so on, and the most."""
    width = 1
    while width < most:
        yield width
        width *= 2
    yield most


def warm_images(engine: Engine, image: PreparedImage, count: int) -> None:
    """Encode so many images together, and decode nothing: an answer of one token is its end."""
    for number in range(count):
        name = f"warm-image-{count}-{number}"
        options = DecodingOptions(num_beams=1, max_new_tokens=1)
        # Another name for every image: else it would be encoded once, and then be known.
        engine.submit(_request(name, replace(image, sha256=name), options))
    _finish(engine, count)


def warm_width(engine: Engine, image: PreparedImage, count: int) -> None:
    """Answer so many requests together, twice: once to warm up, once to record."""
    for turn in range(2):
        for number in range(count):
            options = DecodingOptions(max_new_tokens=_TOKENS)
            engine.submit(_request(f"warm-{turn}-{number}", image, options))
        _finish(engine, count)


def _request(name: str, image: PreparedImage, options: DecodingOptions) -> SequenceRequest:
    return SequenceRequest(
        sequence_id=name,
        image=image,
        prompt=CATALOGUE[Task.CAPTION].prompt,
        options=options,
        deadline_s=None,
        lane="interactive",
        tenant="warm-up",
        expected_token_count=options.max_new_tokens,
    )


def _finish(engine: Engine, left: int) -> None:
    while left:
        left -= sum(isinstance(event, SequenceFinished) for event in engine.step())
