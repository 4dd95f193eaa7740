"""Run an engine at every width before it is relied on, so that nothing is compiled for a caller.

Stands alone: the tests of the path for GPUs run it over an engine on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from arno.engine.interface import DecodingOptions, Engine, PreparedImage
from arno.engine.task_sequences import run_to_end, task_request
from arno.vocabulary import Task, TaskSpec

_SPEC: Final = TaskSpec(Task.CAPTION)
_TOKENS: Final = 48
"""Long enough that the last to join meets the first, short enough for one rounded length."""


def widths(limit: int) -> Iterator[int]:
    """Yield 1, 2, 4 and so on below the limit, then the limit."""
    width = 1
    while width < limit:
        yield width
        width *= 2
    yield limit


def warm_images(engine: Engine, image: PreparedImage, count: int) -> None:
    """Encode this number of images together, and decode nothing: answers have one token, the end.

    Every image gets another digest, or the engine would encode it once and then reuse that.
    """
    options = DecodingOptions(num_beams=1, max_new_tokens=1)
    names = [f"warm-image-{count}-{number}" for number in range(count)]
    run_to_end(
        engine,
        [task_request(name, _SPEC, replace(image, sha256=name), options=options) for name in names],
    )


def warm_width(engine: Engine, image: PreparedImage, count: int) -> None:
    """Answer this number of requests together, twice: once to warm up, once to record."""
    options = DecodingOptions(max_new_tokens=_TOKENS)
    for turn in range(2):
        names = [f"warm-{turn}-{number}" for number in range(count)]
        run_to_end(engine, [task_request(name, _SPEC, image, options=options) for name in names])
