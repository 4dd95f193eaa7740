"""The engine's thread: what it does with sequences that the engine does not take."""

from __future__ import annotations

import threading

import pytest
import torch
from arno.engine.engine_loop import EngineLoop
from arno.engine.interface import DecodingOptions, Event, SequenceRequest
from arno.engine.null_engine import NullEngine
from arno.engine.settings import EngineSettings
from arno.errors import ArnoError, EngineError, LimitExceededError
from arno.vocabulary import CATALOGUE, FinishReason, Task
from support import images


class ChoosyEngine(NullEngine):
    """Takes all sequences but one."""

    def __init__(self, refused_id: str, fault: Exception) -> None:
        super().__init__(EngineSettings(model="null"))
        self._refused_id = refused_id
        self._fault = fault

    def submit(self, request: SequenceRequest) -> None:
        if request.sequence_id == self._refused_id:
            raise self._fault
        super().submit(request)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (LimitExceededError(field="prompt", problem="too long"), LimitExceededError),
        (torch.OutOfMemoryError("no room for an image"), EngineError),
    ],
)
def test_sequence_that_the_engine_does_not_take_fails_alone(
    fault: Exception, told: type[ArnoError]
) -> None:
    engine = ChoosyEngine("bad", fault)
    image = engine.prepare(images.png(8, 8))
    ended, both = {}, threading.Event()

    def note(events: list[Event]) -> None:
        for event in events:
            if hasattr(event, "finish_reason"):
                ended[event.sequence_id] = event
        if len(ended) == 2:
            both.set()

    loop = EngineLoop(engine, on_events=note)
    thread = threading.Thread(target=loop.run)
    thread.start()
    loop.submit(
        SequenceRequest(
            sequence_id=name,
            image=image,
            prompt=CATALOGUE[Task.CAPTION].prompt,
            options=DecodingOptions(),
            deadline_s=None,
            lane="interactive",
            tenant="t",
            expected_token_count=12,
        )
        for name in ("bad", "good")
    )
    assert both.wait(20)
    loop.stop()
    thread.join(20)
    assert ended["good"].finish_reason is FinishReason.STOP
    assert ended["bad"].finish_reason is FinishReason.ERROR
    assert type(ended["bad"].error) is told
