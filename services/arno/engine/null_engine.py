"""An engine that answers at once and without a model, to measure everything around the engine.

It is selected by name (`--model null`), and its fingerprint is that name, so that its answers
cannot be taken for a model's. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import time
from collections.abc import Sequence
from typing import Final

from arno.engine.interface import (
    EngineStatistics,
    Event,
    ModelCard,
    PreparedImage,
    SequenceFinished,
    SequenceRequest,
)
from arno.engine.sequences.waiting_sequences import WaitingSequences
from arno.engine.settings import EngineSettings
from arno.images.decode import ImageHeader, inspect_image
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.vocabulary import (
    BIN_COUNT,
    CATALOGUE,
    AnswerKind,
    Decoded,
    FinishReason,
    ImageSize,
    TokenTable,
)
from arno.vocabulary.prompts import parse_prompt

NULL_MODEL: Final = "null"

_SPECIALS: Final = (b"<s>", b"<pad>", b"</s>")
_FIRST_BYTE_ID: Final = len(_SPECIALS)
_FIRST_LOCATION_ID: Final = _FIRST_BYTE_ID + 256
_LABEL: Final = NULL_MODEL.encode()
_SQUARE: Final = (250, 250, 750, 250, 750, 750, 250, 750)
_BOX: Final = (250, 250, 750, 750)
_BINS: Final = {
    AnswerKind.TEXT: (),
    AnswerKind.DETECTION: _BOX,
    AnswerKind.GROUNDING: _BOX,
    AnswerKind.SEGMENTATION: _SQUARE,
    AnswerKind.OCR: _SQUARE,
}


class NullEngine:
    """An `Engine` without a model: it answers the word "null", and the middle of the image."""

    def __init__(self, settings: EngineSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        """Take limits from the settings; deadlines are in the monotonic time of the clock."""
        self._limits = settings.image_limits
        self._waiting = WaitingSequences(clock)
        self._batch_sequences_max = settings.batch_sequences_max
        self._statistics = EngineStatistics()

    @property
    def card(self) -> ModelCard:
        """The model's name, which is none."""
        return ModelCard(NULL_MODEL, NULL_MODEL, "none", position_count=1024, image_size_px=1)

    @property
    def token_table(self) -> TokenTable:
        """The table that its token ids are read with."""
        return _VOCABULARY

    def warm_up(self) -> None:
        """Do nothing: it is always warm."""

    def prepare(self, content: bytes) -> PreparedImage:
        """Read the header of an image file, and leave the pixels alone. Any thread.

        Raises:
            InvalidImageError: It is not an image.
            LimitExceededError: It is larger than the settings allow.
        """
        started_s = time.perf_counter()
        header = self._read(content)
        return PreparedImage(
            sha256=hashlib.sha256(content).hexdigest(),
            pixels=None,
            size=ImageSize(header.width_px, header.height_px),
            mime_type=header.mime_type,
            prepare_s=time.perf_counter() - started_s,
        )

    def _read(self, content: bytes) -> ImageHeader:
        return inspect_image(content, self._limits)

    def submit(self, request: SequenceRequest) -> None:
        """Queue a sequence. It ends in one of the next steps.

        Raises:
            ValueError: A sequence with its id is in the engine already.
        """
        self._waiting.add(request)

    def step(self) -> Sequence[Event]:
        """Answer the sequences that wait, as many as one batch holds."""
        room = itertools.repeat(True, self._batch_sequences_max)
        batch, cut = self._waiting.take(lambda _: next(room, False))
        events = [*cut, *(_answer(one.request) for one in batch)]
        if events:
            self._statistics.step_count += 1
            self._statistics.batch_size_last = len(events)
            self._statistics.token_count += sum(len(event.token_ids) for event in events)
        return events

    def cancel(self, sequence_id: str) -> None:
        """End a waiting sequence as CANCELLED at the next step. Any thread."""
        self._waiting.cancel(sequence_id)

    def statistics(self) -> EngineStatistics:
        """Return a copy of the counters as they are now. Any thread."""
        return dataclasses.replace(self._statistics, waiting_count=len(self._waiting))

    def close(self) -> None:
        """Forget all sequences. Idempotent."""
        self._waiting.clear()


def _answer(request: SequenceRequest) -> SequenceFinished:
    token_ids = _tokens(_answer_kind(request.prompt))
    return SequenceFinished(
        sequence_id=request.sequence_id,
        token_ids=token_ids,
        logprobs=(0.0,) * len(token_ids),
        finish_reason=FinishReason.STOP,
        encode_s=0.0,
        decode_s=0.0,
        deviations=(0.0,) * len(token_ids),
        candidates=tuple(map(_certain, request.candidates)),
    )


def _certain(candidate: str) -> Decoded:
    begin, _, end = range(len(_SPECIALS))
    token_ids = (begin, *(_FIRST_BYTE_ID + byte for byte in candidate.encode()), end)
    zeros = (0.0,) * len(token_ids)
    return Decoded(token_ids, zeros, deviations=zeros)


def _tokens(kind: AnswerKind) -> tuple[int, ...]:
    begin, _, end = range(len(_SPECIALS))
    label = (_FIRST_BYTE_ID + byte for byte in _LABEL)
    locations = (_FIRST_LOCATION_ID + place for place in _BINS[kind])
    return begin, *label, *locations, end


def _answer_kind(prompt: str) -> AnswerKind:
    """Return what kind of answer a training prompt asks for; text for prompts of no task."""
    task, _ = parse_prompt(prompt)
    return AnswerKind.TEXT if task is None else CATALOGUE[task].answer_kind


def _token_table() -> TokenTable:
    names = [f"<loc_{place}>".encode() for place in range(BIN_COUNT)]
    pieces = (*_SPECIALS, *(bytes([byte]) for byte in range(256)), *names)
    return TokenTable(pieces, _FIRST_LOCATION_ID, frozenset(range(len(_SPECIALS))))


_VOCABULARY: Final = _token_table()
