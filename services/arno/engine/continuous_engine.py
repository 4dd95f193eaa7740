"""Serve Florence-2 by continuous batching: sequences join and leave between any two steps.

A step of the engine does one thing: it encodes a few images, takes a few encoded sequences into
the batch, or gives every sequence of the batch one more token. Where processors would be idle,
images are encoded on another thread meanwhile. A sequence is in exactly one of two places: the
waiting room, until it joins a batch, and the pool.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import torch
from transformers import Florence2ForConditionalGeneration

from arno.batching import AdaptiveLimit, Budget, Clock, ImagePrice, Stage, StageShare
from arno.engine.bisect import run_bisecting
from arno.engine.checkpoints import Checkpoint
from arno.engine.checkpoints.tokenizer import END_ID
from arno.engine.counts import Counts
from arno.engine.decoding.batch import Joining
from arno.engine.decoding.beam_table import Hypothesis
from arno.engine.decoding.constraint_table import TokenKinds
from arno.engine.decoding.decoder import Decoder
from arno.engine.decoding.pool import DecodePool, PoolLimits
from arno.engine.grammar_building import build_grammar
from arno.engine.image_encoding import ImageEncoding
from arno.engine.image_preparation import prepare_image
from arno.engine.image_stage import ImageStage
from arno.engine.interface import (
    EngineStatistics,
    ModelCard,
    PreparedImage,
    SequenceFinished,
    SequenceProgress,
    SequenceRequest,
)
from arno.engine.linear import lay_out
from arno.engine.live_sequences import LiveSequence, LiveSequences
from arno.engine.loops import goes_round
from arno.engine.memory import cache_bytes, let_go, ran_out
from arno.engine.prompt_encoding import encode_prompts
from arno.engine.self_test import check_answers, probe_picture
from arno.engine.settings import EngineSettings
from arno.engine.uploads import Uploads
from arno.engine.waiting_room import Member, WaitingRoom
from arno.engine.warming import warm_images, warm_width, widths
from arno.errors import ArnoError, EngineError
from arno.ops.cpus import available_cpus
from arno.ops.images import ImageLimits
from arno.vocabulary import FinishReason, TokenTable

logger = logging.getLogger(__name__)

_FAILED = "the engine failed on this sequence"
_NOTHING = Hypothesis((), (), 0.0, ended=False)
_AT_ONCE = Hypothesis((END_ID,), (0.0,), 0.0, ended=True)
"""The answer to a limit of one token: the end, which is forced."""

_PROGRESS_TOKENS = 16
"""Progress is told, and loops are looked for, every so many tokens."""

Event: TypeAlias = SequenceProgress | SequenceFinished


class ContinuousEngine:
    """An `Engine` of Arno's own. See the interface for what may be called from where."""

    def __init__(self, checkpoint: Checkpoint, settings: EngineSettings, clock: Clock) -> None:
        """Take a loaded model; `warm_up` before it is relied on."""
        self._checkpoint = checkpoint
        self._settings = settings
        self._clock = clock
        card, device = checkpoint.card, checkpoint.network.device
        images = ImageEncoding(checkpoint.network, settings.encoded_cache_bytes)
        stage = ImageStage(images, overlap=_overlaps(settings, device))
        self._room = WaitingRoom(stage, card.position_count, clock)
        limits = PoolLimits(
            sequences_max=settings.batch_sequences_max,
            cache_bytes=cache_bytes(settings.decode_cache_bytes, device),
            positions=card.position_count,
            encoded_max=card.position_count,
        )
        decoder = Decoder(checkpoint.network)
        kinds = TokenKinds(checkpoint.token_table, decoder.token_count, device)
        self._pool = DecodePool(decoder, limits, kinds)
        _lay_out_encoders(checkpoint.network)
        self._running: dict[str, Member] = {}
        self._live = LiveSequences(clock)
        self._uploads = Uploads(device)
        self._share = StageShare(settings.decode_share)
        self._limit = AdaptiveLimit(settings.batch_sequences_max)
        self._price = ImagePrice()
        self._counts = Counts()
        self._closed = False

    @property
    def card(self) -> ModelCard:
        """Which model this is."""
        return self._checkpoint.card

    @property
    def token_table(self) -> TokenTable:
        """How to read its token ids."""
        return self._checkpoint.token_table

    def warm_up(self) -> None:
        """Answer a few probes, in both kinds of search; on a GPU, all that is compiled there.

        Raises:
            ModelError: None of the answers holds anything but special tokens.
        """
        check_answers(self, allow_untrained=self._settings.allow_untrained)
        if self._checkpoint.network.device.type == "cuda":
            image, most = self.prepare(probe_picture()), self._settings.batch_sequences_max
            for count in range(1, min(most, self._settings.admit_sequences_max) + 1):
                warm_images(self, image, count)
            for count in widths(most):
                warm_width(self, image, count)
        # What first runs cost says nothing of the others.
        self._counts, self._price = Counts(), ImagePrice()

    def prepare(self, content: bytes) -> PreparedImage:
        """Decode, orient, resize and normalise an image file. Any thread.

        Raises:
            InvalidImageError: It cannot be decoded.
            LimitExceededError: It is larger than the settings allow.
        """
        limits = ImageLimits(self._settings.image_bytes_max, self._settings.image_pixels_max)
        return prepare_image(content, self._checkpoint.recipe, limits)

    def submit(self, request: SequenceRequest) -> None:
        """Take a sequence. It ends exactly once, in a later `step`.

        Raises:
            ValueError: A sequence with its id is in the engine already.
        """
        prompt_ids = self._checkpoint.tokenizer.encode(request.prompt)
        grammar = build_grammar(request.constraint, self._checkpoint.tokenizer, self.token_table)
        request = dataclasses.replace(request, image=self._uploads.send(request.image))
        sequence = LiveSequence(request, prompt_ids, self._clock.now_s(), grammar)
        self._live.add(sequence)
        self._room.enter(sequence, self._price.tokens)

    @torch.inference_mode()
    def step(self) -> Sequence[Event]:
        """Drop whom nobody wants; then take sequences in, or give all of them one more token."""
        events: list[Event] = [
            self._drop(each.sequence_id, each.reason) for each in self._live.unwanted()
        ]
        events += self._encoded()
        budget = self._budget()
        if budget is not None and self._room.overlaps:
            events += self._encode(budget)
            budget = None
        joining = self._room.joining(self._pool, self._free())
        stage = self._share.choose(
            can_admit=bool(joining) or budget is not None, can_decode=bool(self._running)
        )
        began_s = self._clock.now_s()
        if stage is Stage.DECODE:
            events += self._decode()
        elif joining:
            events += self._join(joining)
        elif budget is not None:
            events += self._encode(budget)
        elif self._room.encoding:
            events += self._encoded(wait=True)  # there is nothing else to do
        if stage is not None:
            self._share.charge(stage, self._clock.now_s() - began_s)
        self._counts.running_count = len(self._running) + len(self._room.taken)
        return events

    def cancel(self, sequence_id: str) -> None:
        """Stop a sequence at the next step. Unknown ids are ignored. Any thread."""
        self._live.cancel(sequence_id)

    def statistics(self) -> EngineStatistics:
        """Return the numbers of this moment. Any thread."""
        return self._counts.statistics(waiting_count=self._room.queued_count)

    def close(self) -> None:
        """Free the model and forget what is in hand. Idempotent."""
        if not self._closed:
            self._closed = True
            self._live.clear()
            self._room.clear()
            self._running.clear()
            torch.nn.Module.to(self._checkpoint.network, "meta")

    def _free(self) -> int:
        """Return how many more may join a batch in one go."""
        free = self._limit.value - len(self._running)
        return max(0, min(free, self._settings.admit_sequences_max))

    def _budget(self) -> Budget | None:
        """Return what may leave the queue now; None where nothing may."""
        if self._room.encoding:
            return None
        running = [member.sequence for member in self._running.values()]
        in_hand = [*running, *self._room.taken]
        room = self._limit.value - len(in_hand)
        count = min(room, self._room.queued_count, self._settings.admit_sequences_max)
        if count <= 0:
            return None
        tokens = self._settings.batch_tokens_max - sum(each.size for each in in_hand)
        # One alone may be dearer than all: it must run too.
        return Budget(count, tokens) if tokens > 0 or not in_hand else None

    def _encode(self, budget: Budget) -> list[Event]:
        """Take sequences off the queue and have their images encoded."""
        self._uploads.wait()
        expired = self._room.begin(budget)
        return [*(self._end(name, FinishReason.DEADLINE) for name in expired), *self._encoded()]

    def _encoded(self, *, wait: bool = False) -> list[Event]:
        """Make ready whose images are encoded by now; who cannot go on ends here."""
        encoded = self._room.finish(wait=wait)
        if encoded is None:
            return []
        digests = [member.sequence.request.image.sha256 for member in encoded.members]
        self._counts.encoded(encoded.images.fresh, digests)
        self._counts.failed_batch_count += encoded.images.failed_batch_count
        if encoded.images.fresh:
            self._price.learn_images(len(encoded.images.fresh), encoded.images.encode_s)
        failed = [self._fail(sequence, fault) for sequence, fault in encoded.faults]
        went_on = [SequenceProgress(member.sequence_id, True, 0) for member in encoded.members]
        return [*failed, *went_on]

    def _join(self, members: list[Member]) -> list[Event]:
        """Encode the prompts of sequences and put these into their batch."""
        self._room.take(members)
        events: list[Event] = []
        for member in members:
            if self._token_limit(member) == 1:
                events.append(self._finish(member, _AT_ONCE))
        rest = [member for member in members if self._token_limit(member) > 1]
        if not rest:
            return events
        done = run_bisecting(rest, self._start)
        self._counts.failed_batch_count += done.failed_batch_count
        events += self._leave(each.member for each in done.survivors if each.outcome)
        for casualty in done.casualties:
            events += self._sort_out([casualty.member], casualty.fault)
        return events

    def _start(self, members: Sequence[Member]) -> list[bool]:
        """Run what comes before the first step; return for each whether it is over already."""
        encoded = encode_prompts(
            self._checkpoint.network,
            [member.features for member in members],
            [member.sequence.prompt_ids for member in members],
        )
        started = self._pool.start(encoded.states, encoded.padding)
        joining = [
            Joining(member.sequence_id, length, self._token_limit(member), member.sequence.grammar)
            for member, length in zip(members, encoded.lengths, strict=True)
        ]
        over = set(self._pool.join(members[0].key, started, joining))
        self._running |= {member.sequence_id: member for member in members}
        self._counts.token_count += len(members)
        return [member.sequence_id in over for member in members]

    def _token_limit(self, member: Member) -> int:
        return min(member.sequence.request.options.max_new_tokens, self.card.position_count)

    def _decode(self) -> list[Event]:
        """Give every sequence one more token."""
        began_s = self._clock.now_s()
        step = self._pool.step()
        self._price.learn_tokens(step.beam_count, self._clock.now_s() - began_s)
        self._counts.decoded(step.token_count, step.widest)
        self._counts.failed_batch_count += len(step.faults)
        events: list[Event] = []
        for batch in step.faults:
            let_go(batch.fault)
            lost = [self._running.pop(name) for name in batch.sequence_ids]
            events += self._sort_out(lost, batch.fault)
        events += self._leave(self._running[name] for name in step.over)
        if not step.faults:
            self._limit.went_well()
        if self._counts.step_count % _PROGRESS_TOKENS == 0:
            events += [self._drop(name, FinishReason.LOOP) for name in self._looping()]
            events += [
                SequenceProgress(name, True, self._pool.token_count(name)) for name in self._running
            ]
        return events

    def _looping(self) -> list[str]:
        """Return those that go round in circles and should not, by the settings."""
        least = self._settings.loop_tokens
        long = [name for name in self._running if 0 < least <= self._pool.token_count(name)]
        locations = self.token_table.location_ids
        return [name for name in long if goes_round(self._pool.best(name).token_ids, locations)]

    def _sort_out(self, lost: list[Member], fault: Exception) -> list[Event]:
        """Begin again with the members of a batch that failed, so that only the guilty end.

        Where memory ran out, fewer run together from now on. Otherwise each runs alone, and who
        fails alone fails for good.
        """
        together = len(lost) + len(self._running)
        if ran_out(fault) and together > 1:
            self._limit.too_high(together)
            logger.warning("out of memory: %d sequences run together now", self._limit.value)
            self._room.put_back(lost)
            return []
        if len(lost) == 1:
            return [self._fail(lost[0].sequence, fault)]
        self._room.put_back(member.alone() for member in lost)
        return []

    def _leave(self, members: Iterable[Member]) -> list[Event]:
        """End sequences whose search is over."""
        events: list[Event] = []
        for member in list(members):
            del self._running[member.sequence_id]
            events.append(self._finish(member, self._pool.leave(member.sequence_id)))
        return events

    def _finish(self, member: Member, found: Hypothesis) -> SequenceFinished:
        if any(map(math.isnan, found.logprobs)):
            return self._fail(member.sequence, EngineError(f"{_FAILED}: it computed no numbers"))
        reason = FinishReason.STOP
        if len(found.token_ids) >= self._token_limit(member):
            looping = goes_round(found.token_ids[:-1], self.token_table.location_ids)
            reason = FinishReason.LOOP if looping else FinishReason.LENGTH
        return self._end(member.sequence_id, reason, found)

    def _fail(self, sequence: LiveSequence, fault: Exception) -> SequenceFinished:
        """End a sequence that failed by itself."""
        sequence_id = sequence.request.sequence_id
        if not isinstance(fault, ArnoError):
            logger.error("a sequence failed", exc_info=fault, extra={"sequence_id": sequence_id})
            fault = EngineError(_FAILED)
        return self._end(sequence_id, FinishReason.ERROR, error=fault)

    def _drop(self, sequence_id: str, reason: FinishReason) -> SequenceFinished:
        """End a sequence that nobody wants, with what it has."""
        if self._running.pop(sequence_id, None) is not None:
            return self._end(sequence_id, reason, self._pool.leave(sequence_id))
        self._room.remove(sequence_id)
        return self._end(sequence_id, reason)

    def _end(
        self,
        sequence_id: str,
        reason: FinishReason,
        found: Hypothesis = _NOTHING,
        *,
        error: ArnoError | None = None,
    ) -> SequenceFinished:
        """Let a sequence go, which happens to each exactly once: here."""
        sequence = self._live.remove(sequence_id)
        elapsed_s = self._clock.now_s() - sequence.submitted_s
        return SequenceFinished(
            sequence_id=sequence_id,
            token_ids=found.token_ids,
            logprobs=tuple(min(logprob, 0.0) for logprob in found.logprobs),
            finish_reason=reason,
            encode_s=sequence.encode_s,
            decode_s=max(0.0, elapsed_s - sequence.encode_s),
            error=error,
        )


def _overlaps(settings: EngineSettings, device: torch.device) -> bool:
    """Return whether images are encoded beside decoding: by default if that takes nothing from it.

    On a GPU it would: a recording of a step allows no other work of its process meanwhile.
    """
    if settings.encode_overlap == "auto":
        return device.type == "cpu" and torch.get_num_threads() < available_cpus()
    return settings.encode_overlap == "on"


def _lay_out_encoders(network: Florence2ForConditionalGeneration) -> None:
    """Lay out, or compile, what `Decoder` did not: the vision and the text encoder."""
    untyped: Any = network.model
    for part in (untyped.vision_tower, untyped.multi_modal_projector, untyped.get_encoder()):
        lay_out(part)
    if network.device.type == "cuda":
        # Once for each number of images, all of them before readiness. On a CPU it gains a tenth
        # and takes minutes: docs/decisions/0005.
        untyped.vision_tower.compile(dynamic=False)
