"""An engine that answers with a head: one pass of the network an image, and no tokens."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import torch

from arno.engine.bisect import run_bisecting
from arno.engine.encoding.image_preparation import ImagePreparer, Normaliser
from arno.engine.heads.answers import answer
from arno.engine.heads.findings import Finding, find
from arno.engine.heads.load import Head
from arno.engine.interface import (
    EngineStatistics,
    Event,
    ModelCard,
    PreparedImage,
    SequenceFinished,
    SequenceRequest,
)
from arno.engine.sequences.waiting_sequences import WaitingSequence, WaitingSequences
from arno.engine.settings import EngineSettings
from arno.errors import ArnoError, EngineError, InvalidFieldError
from arno.ops.clock import Clock
from arno.vocabulary import AnswerValue, FinishReason, ImageSize, TokenTable


class HeadEngine:
    """An `Engine` over a head. Sequences of one image share its pass through the network."""

    def __init__(self, head: Head, settings: EngineSettings, clock: Clock) -> None:
        """Take over a head.

        Args:
            head: The head.
            settings: The limits of images, and how many go through the network together.
            clock: Deadlines are in its monotonic time.
        """
        self._head: Head | None = head
        self._card = head.card
        self._description = head.description
        self._preparer = ImagePreparer(head.description.recipe, settings)
        self._images_max = settings.admit_sequences_max
        self._normalise = Normaliser(head.description.recipe, head.device)
        self._waiting = WaitingSequences(clock)
        self._statistics = EngineStatistics()

    @property
    def card(self) -> ModelCard:
        """The head that it runs."""
        return self._card

    @property
    def token_table(self) -> TokenTable:
        """An empty table: it writes no tokens."""
        return TokenTable((), 0, frozenset())

    def warm_up(self) -> None:
        """Run a blank image once."""
        side = self._description.recipe.side_px
        self._run([torch.zeros(3, side, side, dtype=torch.uint8)], [ImageSize(side, side)])

    def prepare(self, content: bytes) -> PreparedImage:
        """Decode, orient and resize an image file. Any thread.

        Raises:
            InvalidImageError: It cannot be decoded.
            LimitExceededError: It is larger than the settings allow.
        """
        return self._preparer.prepare(content)

    def submit(self, request: SequenceRequest) -> None:
        """Queue a sequence. It ends in one of the next steps.

        Raises:
            ValueError: A sequence with its id is in the engine already.
        """
        self._waiting.add(request)

    def step(self) -> Sequence[Event]:
        """Answer the sequences of the next images."""
        batch, cut = self._next()
        events: list[Event] = list(cut)
        images = [one.request.image for one in batch]
        by_image: dict[str, PreparedImage] = {image.sha256: image for image in images}
        started_s = time.perf_counter()
        found = run_bisecting(list(by_image.values()), self._find)
        encode_s = time.perf_counter() - started_s
        findings = {one.member.sha256: one.outcome for one in found.survivors}
        faults = {one.member.sha256: one.fault for one in found.casualties}
        for one in batch:
            digest = one.request.image.sha256
            outcome = self._outcome(one.request, findings.get(digest), faults.get(digest))
            wait_s = max(0.0, time.perf_counter() - one.since_s - encode_s)
            events.append(_end(one.request, outcome, encode_s, wait_s))
        statistics = self._statistics
        statistics.step_count += bool(batch)
        statistics.batch_size_last = len(batch)
        statistics.encoded_image_count += len(by_image)
        statistics.reused_image_count += len(batch) - len(by_image)
        statistics.failed_batch_count += found.failed_batch_count
        return events

    def cancel(self, sequence_id: str) -> None:
        """End a waiting sequence as CANCELLED at the next step. Any thread."""
        self._waiting.cancel(sequence_id)

    def statistics(self) -> EngineStatistics:
        """Return a copy of the counters as they are now. Any thread."""
        return dataclasses.replace(self._statistics, waiting_count=len(self._waiting))

    def close(self) -> None:
        """Free the network, and forget all sequences. Idempotent."""
        self._waiting.clear()
        self._head = None

    def _next(self) -> tuple[list[WaitingSequence], list[SequenceFinished]]:
        """Take the sequences of the next images; return them, and the ends of those cut short."""
        images: set[str] = set()

        def fits(request: SequenceRequest) -> bool:
            digest = request.image.sha256
            if digest not in images and len(images) == self._images_max:
                return False
            images.add(digest)
            return True

        return self._waiting.take(fits)

    def _find(self, images: Sequence[PreparedImage]) -> list[Finding]:
        pixels = [image.pixels for image in images if image.pixels is not None]
        if len(pixels) < len(images):
            raise ValueError("an image without pixels, which another engine prepared")
        return self._run(pixels, [image.size for image in images])

    def _run(self, pixels: Sequence[torch.Tensor], sizes: Sequence[ImageSize]) -> list[Finding]:
        head = self._head
        if head is None:
            raise EngineError("the engine is closed")
        levels = torch.stack(list(pixels)).to(head.device)
        dtype: torch.dtype = getattr(torch, head.card.dtype)
        with torch.autocast(head.device.type, dtype=dtype, enabled=dtype != torch.float32):
            return find(head.network, self._normalise(levels), sizes)

    def _outcome(
        self, request: SequenceRequest, finding: Finding | None, fault: Exception | None
    ) -> AnswerValue | ArnoError:
        if finding is None:
            return fault if isinstance(fault, ArnoError) else EngineError(f"it failed: {fault!r}")
        if request.candidates:
            problem = "a head does not judge given answers"
            return InvalidFieldError(field="candidates", problem=problem, limit="empty")
        try:
            return answer(request.prompt, finding, self._description, request.image.size)
        except ArnoError as error:
            return error


def _end(
    request: SequenceRequest, outcome: AnswerValue | ArnoError, encode_s: float, wait_s: float
) -> SequenceFinished:
    error = outcome if isinstance(outcome, ArnoError) else None
    return SequenceFinished(
        sequence_id=request.sequence_id,
        token_ids=(),
        logprobs=(),
        finish_reason=FinishReason.STOP if error is None else FinishReason.ERROR,
        encode_s=encode_s,
        decode_s=wait_s,
        error=error,
        value=None if isinstance(outcome, ArnoError) else outcome,
    )
