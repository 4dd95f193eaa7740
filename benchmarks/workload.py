"""Put images and prompts to the requests of a workload."""

from __future__ import annotations

from collections.abc import Iterable

from arno.vocabulary import CATALOGUE, Task

from benchmarks.ask import Ask
from benchmarks.pictures import picture
from benchmarks.schedule import Item


def asks(chosen: Iterable[Item], *, num_beams: int) -> list[Ask]:
    """Return what is sent to the engines."""
    return [
        Ask(
            ask_id=place,
            task=item.task,
            prompt=CATALOGUE[Task(item.task)].prompt,
            image=picture(item.image_index),
            token_limit=item.token_limit,
            num_beams=num_beams,
        )
        for place, item in enumerate(chosen)
    ]
