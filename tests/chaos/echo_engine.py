"""An engine whose answers say what was asked, so that a false one is found; it takes its time."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Sequence
from pathlib import Path

from arno.engine.interface import (
    Event,
    PreparedImage,
    SequenceFinished,
    SequenceRequest,
)
from arno.engine.null_engine import NullEngine
from arno.engine.settings import EngineSettings
from arno.vocabulary import FinishReason

_BEGIN, _END, _FIRST_BYTE = 0, 2, 3
_QUICK_S, _SLOW_S = 0.3, 2.0
_SLOW_SHARE = 0.05


def echo(image_sha256: str, prompt: str) -> str:
    """Return the one true answer about an image and a prompt."""
    return f"{image_sha256[:24]} {hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


class EchoEngine(NullEngine):
    """Answers each sequence after a while, so that a kill finds work in flight.

    Args:
        settings: As of every engine.
        slow: While this file exists, preparing an image takes as many seconds as it holds.
    """

    def __init__(self, settings: EngineSettings, slow: Path | None = None) -> None:
        super().__init__(settings)
        self._due_s: dict[str, float] = {}
        self._slow = slow

    def prepare(self, content: bytes) -> PreparedImage:
        if self._slow is not None and self._slow.exists():
            time.sleep(float(self._slow.read_text()))
        return super().prepare(content)

    def submit(self, request: SequenceRequest) -> None:
        self._due_s[request.sequence_id] = time.monotonic() + _duration_s(request.sequence_id)
        super().submit(request)

    def step(self) -> Sequence[Event]:
        now_s = time.monotonic()
        ready, cut = self._waiting.take(lambda asked: self._due_s[asked.sequence_id] <= now_s)
        ends = [*cut, *(_answer(one.request) for one in ready)]
        for end in ends:
            del self._due_s[end.sequence_id]
        return ends


def slow_file(settings: Path) -> Path:
    """Return the file that slows the worker with these settings down."""
    return settings.with_suffix(".slow")


def _answer(request: SequenceRequest) -> SequenceFinished:
    text = echo(request.image.sha256, request.prompt).encode()
    token_ids = (_BEGIN, *(_FIRST_BYTE + byte for byte in text), _END)
    return SequenceFinished(
        sequence_id=request.sequence_id,
        token_ids=token_ids,
        logprobs=(0.0,) * len(token_ids),
        finish_reason=FinishReason.STOP,
        encode_s=0.0,
        decode_s=0.0,
        deviations=(0.0,) * len(token_ids),
    )


def _duration_s(sequence_id: str) -> float:
    chance = random.Random(sequence_id)
    return _SLOW_S if chance.random() < _SLOW_SHARE else chance.uniform(0.01, _QUICK_S)
