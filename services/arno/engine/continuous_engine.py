"""Serve Florence-2 by continuous batching: sequences join and leave between any two steps.

A step retires sequences, then does one of three things: it encodes a few images, takes a few
encoded sequences into their batch, or decodes one token of every running sequence. Where processors
would be idle, images are encoded on another thread meanwhile.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterable

import torch

from arno.batching import AdaptiveLimit, Budget, Phase, PhaseShare
from arno.engine.admission_queue import AdmissionQueue
from arno.engine.answer_scoring import AnswerScorer, likeliest
from arno.engine.bisect import run_bisecting
from arno.engine.checkpoints import Checkpoint
from arno.engine.checkpoints.tokenizer import END_ID
from arno.engine.compiled.start import card_of, lay_out_encoders_of
from arno.engine.compiled.steps import CompiledSteps
from arno.engine.decoding.beam_table import Hypothesis
from arno.engine.decoding.constraint_table import TokenKinds, build_grammar
from arno.engine.decoding.decoder import Decoder
from arno.engine.decoding.launchers import StepLauncher
from arno.engine.decoding.pool import DecodePool, PoolLimits
from arno.engine.device import cache_bytes, clear_frames, free_network, out_of_memory, use_device
from arno.engine.encoding.image_encoding import ImageEncoding
from arno.engine.encoding.image_preparation import ImagePreparer, Normaliser
from arno.engine.encoding.image_stage import ImageStage, Uploads, overlaps
from arno.engine.encoding.prompt_encoding import encode_prompts
from arno.engine.interface import (
    EngineStatistics,
    Event,
    ModelCard,
    PreparedImage,
    SequenceFinished,
    SequenceProgress,
    SequenceRequest,
)
from arno.engine.loops import ends_in_loop
from arno.engine.self_test import check_answers
from arno.engine.sequences.sequence import Sequence, SequenceStage, SequenceTable
from arno.engine.settings import EngineSettings
from arno.engine.stopwatch import EncodingTimes
from arno.engine.warming import warm_gpu
from arno.errors import ArnoError, EngineError
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.vocabulary import FinishReason, TokenTable

logger = logging.getLogger(__name__)

_FAILED = "the engine failed on this sequence"
_NOTHING = Hypothesis((), (), (), ())
_END_ONLY = Hypothesis((END_ID,), (0.0,), (0.0,), (0.0,))  # forced by a limit of one token

_PROGRESS_STEPS = 16
"""Steps between two reports of progress, and between two searches for loops."""


class ContinuousEngine:
    """Arno's own `Engine`; the interface says which methods may be called from which thread."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        settings: EngineSettings,
        clock: Clock = SYSTEM_CLOCK,
        *,
        make_launcher: Callable[[], StepLauncher] | None = None,
    ) -> None:
        """Take a loaded model; call `warm_up` before serving.

        Args:
            checkpoint: The model, which the engine changes and `close` frees.
            settings: Limits of the engine.
            clock: Deadlines are in its monotonic time.
            make_launcher: Makes what launches a batch's steps; by default what suits the device.
        """
        self._checkpoint, self._settings, self._clock = checkpoint, settings, clock
        self._group_max = min(settings.admit_sequences_max, settings.batch_sequences_max)
        card, device = checkpoint.card, checkpoint.network.device
        normalise = Normaliser(checkpoint.recipe, device)
        images = ImageEncoding(checkpoint.network, normalise, settings.encoded_cache_bytes)
        self._images = ImageStage(images, overlap=overlaps(settings, device))
        self._uploads = Uploads(device)
        self._preparer = ImagePreparer(
            checkpoint.recipe, settings, encoded=images.features_of, pin=self._uploads.pin
        )
        limits = PoolLimits(
            sequences_max=settings.batch_sequences_max,
            cache_bytes=cache_bytes(settings.decode_cache_bytes, device),
            positions=card.position_count,
            encoded_max=card.position_count,
        )
        decoder = Decoder(checkpoint.network)
        kinds = TokenKinds(checkpoint.token_table, decoder.token_count, device)
        self._images.fill_up_to(lay_out_encoders_of(checkpoint, settings))
        self._sequences = SequenceTable()
        self._queue = AdmissionQueue(
            self._images,
            positions=card.position_count,
            group_max=self._group_max,
            size_max=settings.batch_tokens_max,
            # Kernels of a GPU are queued, so that it encodes while the host decodes and joins.
            ahead=self._group_max if device.type == "cuda" else 0,
            reserve_share=settings.tenant_reserve_share,
        )
        steps = CompiledSteps.of(checkpoint.network, decoder)
        self._pool = DecodePool(decoder, limits, kinds, make_launcher, steps)
        self._scorer = AnswerScorer(checkpoint.network, decoder, kinds.location_ids)
        self._events: list[Event] = []
        self._share = PhaseShare(settings.decode_share)
        self._limit = AdaptiveLimit(settings.batch_sequences_max)
        self._times = EncodingTimes()
        self._statistics = EngineStatistics()
        self._closed = False

    @property
    def card(self) -> ModelCard:
        """The model that it runs."""
        return card_of(self._checkpoint)

    @property
    def token_table(self) -> TokenTable:
        """The table that its token ids are read with."""
        return self._checkpoint.token_table

    def warm_up(self) -> None:
        """Answer a few probes, in both kinds of search; on a GPU, compile and record before that.

        Raises:
            ModelError: The model answers with special tokens only.
        """
        use_device(self._checkpoint.network.device)
        if self._checkpoint.network.device.type == "cuda":
            sizes = warm_gpu(self._checkpoint, self._pool, self._settings, self._group_max)
            self._images.fill_up_to(sizes)
        check_answers(self, allow_untrained=self._settings.allow_untrained)
        # First runs are slow, so their times predict nothing.
        self._statistics, self._times = EngineStatistics(), EncodingTimes()

    def prepare(self, content: bytes) -> PreparedImage:
        """Decode, orient and resize an image file that is not encoded already. Any thread."""
        return self._preparer.prepare(content)

    def submit(self, request: SequenceRequest) -> None:
        """Queue a sequence. It ends exactly once, in a later `step`.

        Raises:
            ValueError: A sequence with its id is in the engine already.
        """
        use_device(self._checkpoint.network.device)
        tokenizer = self._checkpoint.tokenizer
        sequence = Sequence(
            request=dataclasses.replace(request, image=self._uploads.send(request.image)),
            prompt_ids=tokenizer.encode(request.prompt),
            token_limit=min(request.options.max_new_tokens, self.card.position_count),
            arrived_s=self._clock.monotonic_s(),
            grammar=build_grammar(request.constraint, tokenizer, self.token_table),
            candidates=tuple(map(tokenizer.encode_answer, request.candidates)),
        )
        digest = sequence.image_sha256
        if not (self._images.keeps(digest) or self._sequences.bring(digest)):
            # The first to bring an image is charged for it.
            sequence.cost += self._times.price.tokens
        self._sequences.add(sequence)
        self._queue.add(sequence)

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Retire cancelled and expired sequences, then admit new ones or decode a token of each."""
        use_device(self._checkpoint.network.device)
        self._events = []
        self._retire()
        newcomers = self._newcomers()
        phase = self._share.choose(can_admit=bool(newcomers), can_decode=len(self._pool) > 0)
        began_s, encoding_s = self._clock.monotonic_s(), 0.0
        if phase is Phase.DECODE:
            encoding_s = self._decode()
        else:
            self._admit(newcomers)
        if phase is not None:
            spent_s = self._clock.monotonic_s() - began_s
            filled = min(1.0, len(self._pool) / self._limit.value)
            self._share.charge(Phase.ADMIT, encoding_s, filled=filled)
            self._share.charge(phase, spent_s - encoding_s, filled=filled)
        self._statistics.running_count = len(self._pool) + len(self._queue.started)
        return self._events

    def cancel(self, sequence_id: str) -> None:
        """End a sequence as CANCELLED at the next step. Unknown ids are ignored. Any thread."""
        self._sequences.cancel(sequence_id)

    def statistics(self) -> EngineStatistics:
        """Return a copy of the counters as they are now. Any thread."""
        return dataclasses.replace(self._statistics, waiting_count=self._queue.queued_count)

    def close(self) -> None:
        """Free the model and forget all sequences. Idempotent."""
        if not self._closed:
            self._closed = True
            self._queue.close()
            self._pool.clear()
            self._sequences.clear()
            free_network(self._checkpoint.network)

    def _retire(self) -> None:
        """End the sequences that were cancelled or whose deadline has come."""
        for sequence in self._sequences.take_cancelled():
            self._cut_short(sequence, FinishReason.CANCELLED)
        for sequence in self._sequences.take_expired(self._clock.monotonic_s()):
            self._cut_short(sequence, FinishReason.DEADLINE)

    def _newcomers(self) -> list[Sequence] | Budget | None:
        """Return the sequences that can join a batch; where none can, the budget of a new group.

        Where images are encoded beside decoding, a new group has begun when this returns.
        """
        self._take_encoded(wait=False)
        now_s = self._clock.monotonic_s()
        budget = self._queue.budget(self._pool.sequences, self._limit.value, now_s)
        if budget is not None and self._images.overlaps:
            self._encode(budget)
            budget = None
        return self._queue.joining(self._pool, self._limit.value - len(self._pool)) or budget

    def _admit(self, newcomers: list[Sequence] | Budget | None) -> None:
        """Join a batch, or encode the images of a new group; with neither, wait for images."""
        if newcomers is None:
            self._take_encoded(wait=True)
        elif isinstance(newcomers, Budget):
            self._encode(newcomers)
        else:
            self._join(newcomers)

    def _encode(self, budget: Budget) -> None:
        """Take sequences off the queue and encode their images."""
        self._uploads.wait()
        self._queue.encode(budget, self._clock.monotonic_s())
        self._take_encoded(wait=False)

    def _take_encoded(self, *, wait: bool) -> None:
        """Make the group ready whose images are encoded by now; end those that cannot go on."""
        group = self._queue.take_encoded(wait=wait)
        if group is None:
            return
        fresh, digests = group.images.fresh, [ready.image_sha256 for ready in group.ready]
        self._statistics.encoded_image_count += len(fresh)
        self._statistics.reused_image_count += len(digests) - len(fresh & set(digests))
        self._statistics.failed_batch_count += group.images.failed_batch_count
        if group.images.watch is not None and fresh:
            self._times.note(len(fresh), group.images.watch)
        for refused in group.refused:
            self._fail(refused.sequence, refused.error)
        for ready in group.ready:
            self._progress(ready)

    def _join(self, sequences: list[Sequence]) -> None:
        """Take encoded sequences into their batch; those with candidates are scored."""
        self._queue.take(sequences)
        for sequence in (one for one in sequences if one.token_limit == 1):
            self._finish(sequence, _END_ONLY)
        decoding = [sequence for sequence in sequences if sequence.token_limit > 1]
        done = run_bisecting(decoding, self._start)
        self._statistics.failed_batch_count += done.failed_batch_count
        self._finish_all(each.member for each in done.survivors if each.outcome)
        scored = [each.member for each in done.survivors if each.member.candidates]
        self._queue.go_on_later(one for one in scored if not one.all_scored)
        for one in (one for one in scored if one.all_scored):
            self._finish(one, likeliest(one.scored))
        for casualty in done.casualties:
            self._recover([casualty.member], casualty.fault, together=1 + len(self._pool))

    def _start(self, sequences: Iterable[Sequence]) -> list[bool]:
        """Run what comes before the first step; return for each whether its search is over."""
        members = list(sequences)
        if members[0].candidates:
            self._statistics.token_count += self._scorer.score(members)
            return [False] * len(members)  # there is no search
        encoded = encode_prompts(
            self._checkpoint.network,
            [sequence.features for sequence in members],
            [sequence.prompt_ids for sequence in members],
        )
        over = self._pool.join(self._pool.start(encoded.states, encoded.padding), members)
        self._statistics.token_count += len(members)
        return [sequence in over for sequence in members]

    def _decode(self) -> float:
        """Decode one token of every running sequence; return the seconds of encoding meanwhile."""
        together, began_s = len(self._pool), self._clock.monotonic_s()
        step = self._pool.step()
        took_s = self._clock.monotonic_s() - began_s
        encoding_s = self._times.note_step(step.beam_count, took_s)
        self._statistics.step_count += 1
        self._statistics.token_count += step.token_count
        self._statistics.batch_size_last = step.widest
        self._statistics.failed_batch_count += len(step.failed)
        for batch in step.failed:
            clear_frames(batch.fault)
            self._recover(list(batch.sequences), batch.fault, together=together)
        self._finish_all(step.over)
        if not step.failed:
            self._limit.went_well()
        if self._statistics.step_count % _PROGRESS_STEPS == 0:
            self._report_progress()
        return encoding_s

    def _report_progress(self) -> None:
        """Report how far the running sequences are; end looping ones if the settings say so."""
        least, locations = self._settings.loop_tokens, self.token_table.location_ids
        for sequence in self._pool.sequences:
            long = 0 < least <= sequence.token_count
            if long and ends_in_loop(self._pool.best(sequence).token_ids, locations):
                self._cut_short(sequence, FinishReason.LOOP)
            else:
                self._progress(sequence)

    def _progress(self, sequence: Sequence) -> None:
        self._events.append(SequenceProgress(sequence.sequence_id, True, sequence.token_count))

    def _recover(self, lost: list[Sequence], fault: Exception, *, together: int) -> None:
        """Begin again with the members of a batch that failed, so that only the guilty one ends.

        Where memory ran out, fewer sequences run together from now on than the `together` that ran.
        Otherwise each runs alone, and one that fails alone fails for good.
        """
        if out_of_memory(fault) and together > 1:
            self._limit.too_high(together)
            logger.warning("out of memory: %d sequences run together now", self._limit.value)
        elif len(lost) == 1:
            self._fail(lost[0], fault)
            return
        else:
            for sequence in lost:
                sequence.isolate()
        self._queue.put_back(lost)

    def _finish_all(self, over: Iterable[Sequence]) -> None:
        """Take sequences whose search is over out of their batch, and end them."""
        for sequence, found in self._pool.leave(over):
            self._finish(sequence, found)

    def _finish(self, sequence: Sequence, found: Hypothesis) -> None:
        """End a sequence whose search is over."""
        if any(map(math.isnan, found.logprobs)):
            self._fail(sequence, EngineError(f"{_FAILED}: it computed no numbers"))
            return
        reason = FinishReason.STOP
        if len(found.token_ids) >= sequence.token_limit:
            looping = ends_in_loop(found.token_ids[:-1], self.token_table.location_ids)
            reason = FinishReason.LOOP if looping else FinishReason.LENGTH
        self._end(sequence, reason, found)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        """End a sequence that failed by itself."""
        if not isinstance(error, ArnoError):
            where = {"sequence_id": sequence.sequence_id}
            logger.error("a sequence failed", exc_info=error, extra=where)
            error = EngineError(_FAILED)
        self._end(sequence, FinishReason.ERROR, error=error)

    def _cut_short(self, sequence: Sequence, reason: FinishReason) -> None:
        """End a sequence, wherever it is, with the tokens that it has."""
        if sequence.stage is SequenceStage.RUNNING:
            ((_, found),) = self._pool.leave([sequence])
            self._end(sequence, reason, found)
        else:
            self._queue.withdraw(sequence)
            self._end(sequence, reason)

    def _end(
        self,
        sequence: Sequence,
        reason: FinishReason,
        found: Hypothesis = _NOTHING,
        *,
        error: ArnoError | None = None,
    ) -> None:
        """End a sequence that neither the queue nor the pool holds; each ends here, once."""
        self._sequences.remove(sequence)
        elapsed_s = self._clock.monotonic_s() - sequence.arrived_s
        self._events.append(
            SequenceFinished(
                sequence_id=sequence.sequence_id,
                token_ids=found.token_ids,
                logprobs=tuple(min(logprob, 0.0) for logprob in found.logprobs),
                finish_reason=reason,
                encode_s=sequence.encode_s,
                decode_s=max(0.0, elapsed_s - sequence.encode_s),
                error=error,
                deviations=found.deviations,
                end_chances=found.end_chances,
                candidates=sequence.scored if sequence.all_scored else (),
            )
        )
