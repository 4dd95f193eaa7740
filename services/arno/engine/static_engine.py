"""Run sequences in static batches: schedule a group, encode its images, decode it, report.

The simplest engine that keeps every promise of the interface. A batch runs to its end before the
next one starts; joining and leaving between steps is left to its successor.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from arno.batching import Budget, Clock, LanePolicy, Scheduler
from arno.engine.bisect import run_bisecting
from arno.engine.checkpoint import Checkpoint
from arno.engine.counts import Counts
from arno.engine.generation import EncodedPrompt, Generated, Watch, generate
from arno.engine.image_encoding import ImageEncoding
from arno.engine.image_preparation import prepare_image
from arno.engine.interface import (
    EngineStatistics,
    ModelCard,
    PreparedImage,
    SequenceFinished,
    SequenceProgress,
    SequenceRequest,
)
from arno.engine.live_sequences import LiveSequence, LiveSequences
from arno.engine.self_test import check_answers
from arno.engine.settings import EngineSettings
from arno.errors import ArnoError, EngineError, LimitExceededError
from arno.ops.images import ImageLimits
from arno.tasks import FinishReason, Vocabulary

logger = logging.getLogger(__name__)

_FAILED = "the engine failed on this sequence"
_NOTHING = Generated((), (), complete=False)


@dataclass(frozen=True, slots=True)
class _Member:
    """A sequence whose image is encoded."""

    sequence: LiveSequence
    features: torch.Tensor

    @property
    def digest(self) -> str:
        return self.sequence.request.image.sha256


class StaticEngine:
    """An `Engine` over `generate`. See the interface for what may be called from where."""

    def __init__(self, checkpoint: Checkpoint, settings: EngineSettings, clock: Clock) -> None:
        """Take a loaded model; `warm_up` before it is relied on."""
        self._checkpoint = checkpoint
        self._settings = settings
        self._clock = clock
        self._limits = ImageLimits(settings.image_bytes_max, settings.image_pixels_max)
        self._budget = Budget(settings.batch_sequences_max, settings.batch_tokens_max)
        self._images = ImageEncoding(checkpoint.network, settings.encoded_cache_bytes)
        self._scheduler = Scheduler(LanePolicy())
        self._live = LiveSequences(clock)
        self._encoded: list[_Member] = []
        self._counts = Counts()
        self._closed = False

    @property
    def card(self) -> ModelCard:
        """Which model this is."""
        return self._checkpoint.card

    @property
    def vocabulary(self) -> Vocabulary:
        """How to read its token ids."""
        return self._checkpoint.vocabulary

    def warm_up(self) -> None:
        """Answer a few probes, in both kinds of search.

        Raises:
            ModelError: None of the answers holds anything but special tokens.
        """
        check_answers(self, allow_untrained=self._settings.allow_untrained)
        self._counts = Counts()

    def prepare(self, content: bytes) -> PreparedImage:
        """Decode, orient, resize and normalise an image file. Any thread.

        Raises:
            InvalidImageError: It cannot be decoded.
            LimitExceededError: It is larger than the settings allow.
        """
        return prepare_image(content, self._checkpoint.recipe, self._limits)

    def submit(self, request: SequenceRequest) -> None:
        """Take a sequence. It ends exactly once, in a later `step`.

        Raises:
            ValueError: A sequence with its id is in the engine already.
        """
        prompt_ids = self._checkpoint.tokenizer.encode(request.prompt)
        sequence = LiveSequence(request, prompt_ids, self._clock.now_s())
        self._live.add(sequence)
        self._scheduler.admit(sequence.entry())

    def step(self) -> Sequence[SequenceProgress | SequenceFinished]:
        """Encode the next group, or decode the one that is encoded; and drop who is not wanted."""
        if self._encoded:
            members, self._encoded = self._encoded, []
            return self._decode(members)
        dropped = self._drop_cancelled()
        decision = self._scheduler.schedule(self._budget, self._clock.now_s())
        expired = [self._end(entry.entry_id, FinishReason.DEADLINE) for entry in decision.expired]
        group = [self._live.get(entry.entry_id) for entry in decision.group]
        return [*dropped, *expired, *(self._encode(group) if group else ())]

    def cancel(self, sequence_id: str) -> None:
        """Stop a sequence at the next step. Unknown ids are ignored. Any thread."""
        self._live.cancel(sequence_id)

    def statistics(self) -> EngineStatistics:
        """Return the numbers of this moment. Any thread."""
        return self._counts.statistics(waiting_count=len(self._scheduler))

    def close(self) -> None:
        """Free the model and forget what is in hand. Idempotent."""
        if not self._closed:
            self._closed = True
            self._live.clear()
            self._encoded.clear()
            self._images = ImageEncoding(self._checkpoint.network, 0)
            torch.nn.Module.to(self._checkpoint.network, "meta")

    def _drop_cancelled(self) -> list[SequenceFinished]:
        return [
            self._end(sequence_id, FinishReason.CANCELLED)
            for sequence_id in self._live.cancelled_ids()
            if self._scheduler.withdraw(sequence_id)
        ]

    def _encode(self, group: list[LiveSequence]) -> list[SequenceProgress | SequenceFinished]:
        """Encode the images of a group; sequences that cannot go on from there end here."""
        encoded = self._images.encode([sequence.request.image for sequence in group])
        events: list[SequenceProgress | SequenceFinished] = []
        for sequence in group:
            digest = sequence.request.image.sha256
            fault = encoded.faults.get(digest)
            if fault is None:
                fault = self._too_long(sequence, encoded.features[digest])
            if fault is not None:
                events.append(self._fail(sequence, fault))
                continue
            sequence.encode_s = encoded.encode_s if digest in encoded.fresh else 0.0
            self._encoded.append(_Member(sequence, encoded.features[digest]))
            events.append(SequenceProgress(sequence.request.sequence_id, True, 0))
        self._counts.encoded(encoded.fresh, [member.digest for member in self._encoded])
        self._counts.failed_batch_count += encoded.failed_batch_count
        return events

    def _too_long(
        self, sequence: LiveSequence, features: torch.Tensor
    ) -> LimitExceededError | None:
        """Return the fault of a prompt that does not fit the encoder's positions."""
        longest = self.card.position_count - features.shape[0]
        if len(sequence.prompt_ids) <= longest:
            return None
        return LimitExceededError(
            field="prompt",
            problem="the prompt is too long for the model",
            limit=f"{longest} tokens",
            sent=f"{len(sequence.prompt_ids)} tokens",
        )

    def _decode(self, members: list[_Member]) -> list[SequenceProgress | SequenceFinished]:
        """Run a batch to its end."""
        wanted: list[_Member] = []
        events: list[SequenceProgress | SequenceFinished] = []
        for member in members:
            reason = self._live.unwanted(member.sequence)
            if reason is None:
                wanted.append(member)
            else:
                events.append(self._end(member.sequence.request.sequence_id, reason))
        if wanted:
            events += self._run_batch(wanted)
        self._counts.running_count = 0
        return events

    def _run_batch(self, wanted: list[_Member]) -> list[SequenceFinished]:
        self._counts.batch_size_last = len(wanted)
        done = run_bisecting(wanted, self._run)
        self._counts.failed_batch_count += done.failed_batch_count
        return [
            *(self._finish(each.member.sequence, each.outcome) for each in done.survivors),
            *(self._fail(each.member.sequence, each.fault) for each in done.casualties),
        ]

    def _run(self, members: Sequence[_Member]) -> list[Generated]:
        self._counts.step_count += 1
        prompts = [EncodedPrompt(each.features, each.sequence.prompt_ids) for each in members]
        watch = Watch(
            alive=lambda place: self._wanted(members[place].sequence),
            stepped=lambda token_count: self._counts.stepped(len(members)),
        )
        options = members[0].sequence.request.options
        return generate(self._checkpoint.network, prompts, options, watch)

    def _wanted(self, sequence: LiveSequence) -> bool:
        """Return whether a sequence should go on, and note why if it should not."""
        if sequence.cut_short is None:
            sequence.cut_short = self._live.unwanted(sequence)
        return sequence.cut_short is None

    def _finish(self, sequence: LiveSequence, generated: Generated) -> SequenceFinished:
        if any(map(math.isnan, generated.logprobs)):
            return self._fail(sequence, EngineError(f"{_FAILED}: it computed no numbers"))
        reason = FinishReason.STOP if generated.complete else FinishReason.LENGTH
        # An answer that was complete when its time ran out is an answer; nobody waits for one
        # that was cancelled.
        late = sequence.cut_short is FinishReason.DEADLINE
        if sequence.cut_short is not None and not (late and generated.complete):
            reason = sequence.cut_short
        return self._end(sequence.request.sequence_id, reason, generated)

    def _fail(self, sequence: LiveSequence, fault: Exception) -> SequenceFinished:
        """End a sequence that failed by itself."""
        sequence_id = sequence.request.sequence_id
        if not isinstance(fault, ArnoError):
            logger.error("a sequence failed", exc_info=fault, extra={"sequence_id": sequence_id})
            fault = EngineError(f"{_FAILED}: {type(fault).__name__}: {fault}")
        return self._end(sequence_id, FinishReason.ERROR, error=fault)

    def _end(
        self,
        sequence_id: str,
        reason: FinishReason,
        generated: Generated = _NOTHING,
        *,
        error: ArnoError | None = None,
    ) -> SequenceFinished:
        """Let a sequence go, which happens to each exactly once: here."""
        sequence = self._live.remove(sequence_id)
        elapsed_s = self._clock.now_s() - sequence.submitted_s
        return SequenceFinished(
            sequence_id=sequence_id,
            token_ids=generated.token_ids,
            logprobs=generated.logprobs,
            finish_reason=reason,
            encode_s=sequence.encode_s,
            decode_s=max(0.0, elapsed_s - sequence.encode_s),
            error=error,
        )
