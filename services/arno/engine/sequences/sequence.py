"""A sequence from submission to its end, and the table of all sequences of an engine.

A sequence is one mutable object. The scheduler's queues, the group whose images are being encoded
and the slots of the decode batches hold the object itself; its `stage` says which.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from arno.engine.interface import DecodingOptions, SequenceRequest
from arno.vocabulary import Decoded
from arno.vocabulary.grammar import Grammar

if TYPE_CHECKING:
    import torch

    from arno.engine.stopwatch import Stopwatch

_SPENT_DEADLINES_MAX: Final = 256


class SequenceStage(Enum):
    """Where a sequence is."""

    QUEUED = "queued"
    ENCODING = "encoding"
    READY = "ready"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What the members of a decode batch have in common.

    Attributes:
        options: Their decoding options, without the limit on tokens, which is each one's own.
        constrained: Whether each is held to a grammar of its own.
        scored: Whether each has candidates, which are scored in one pass without a search.
        alone: Id of the only member, after its last batch failed; None for a shared batch.
    """

    options: DecodingOptions
    constrained: bool = False
    scored: bool = False
    alone: str | None = None


def batch_key(options: DecodingOptions, *, constrained: bool = False) -> BatchKey:
    """Return the key of the batch that sequences with these options share."""
    return BatchKey(dataclasses.replace(options, max_new_tokens=0), constrained)


@dataclass(slots=True, eq=False)
class Sequence:
    """One task to decode. The engine's thread changes it; any thread may set `cancelled`.

    Attributes:
        request: What was asked.
        prompt_ids: Token ids of the prompt.
        token_limit: Most tokens of its answer, the end included.
        arrived_s: Monotonic time of the submission.
        grammar: Form of its answer; None leaves the answer free.
        candidates: Token ids of the answers to score, begin and end included; none to decode one.
        cost: Predicted work, in tokens of one beam, which the scheduler charges.
        stage: Where it is.
        cancelled: Whether it is to end at the next step.
        watch: Measures how long its image took in the vision encoder; None where it was encoded
            before.
        features: Its encoded image, [V, D]; set from stage READY on.
        encoded_length: Positions that image and prompt take together, from then on.
        token_count: Tokens decoded so far.
        batch_key: Which decode batch it belongs to.
        scored: Its candidates with what the model computed for them, from then on.
    """

    request: SequenceRequest
    prompt_ids: tuple[int, ...]
    token_limit: int
    arrived_s: float
    grammar: Grammar | None = None
    candidates: tuple[tuple[int, ...], ...] = ()
    cost: float = field(init=False)
    stage: SequenceStage = SequenceStage.QUEUED
    cancelled: bool = False
    watch: Stopwatch | None = None
    features: torch.Tensor = field(init=False, repr=False)
    encoded_length: int = 0
    token_count: int = 0
    batch_key: BatchKey = field(init=False)
    scored: tuple[Decoded, ...] = ()

    def __post_init__(self) -> None:
        """Derive the batch from the options; the cost is that of decoding."""
        self.cost = self.size
        self.batch_key = batch_key(self.request.options, constrained=self.grammar is not None)
        if self.candidates:
            self.batch_key = BatchKey(DecodingOptions(), scored=True)
            self.token_limit = max(map(len, self.candidates)) + 1  # limits are of what is decoded

    @property
    def sequence_id(self) -> str:
        """Its name."""
        return self.request.sequence_id

    @property
    def lane(self) -> str:
        """Its priority class."""
        return self.request.lane

    @property
    def tenant(self) -> str:
        """The tenant that is charged for it."""
        return self.request.tenant

    @property
    def image_sha256(self) -> str:
        """Digest of its image."""
        return self.request.image.sha256

    @property
    def size(self) -> float:
        """Predicted tokens of its answer, in all beams; or the tokens of its candidates."""
        if self.candidates:
            return float(sum(map(len, self.candidates)))
        options = self.request.options
        tokens = max(1, min(self.request.expected_token_count, options.max_new_tokens))
        return float(tokens * options.num_beams)

    @property
    def all_scored(self) -> bool:
        """Whether each of its candidates is scored; True without any."""
        return len(self.scored) == len(self.candidates)

    def expired(self, now_s: float) -> bool:
        """Return whether its deadline has come."""
        return self.request.deadline_s is not None and self.request.deadline_s <= now_s

    @property
    def encode_s(self) -> float:
        """Seconds that its image took in the vision encoder; waits for a GPU that is not done."""
        return self.watch.seconds if self.watch is not None else 0.0

    def take_image(self, features: torch.Tensor, watch: Stopwatch | None) -> None:
        """Take the encoded image, [V, D], and what measures how long it took; makes it READY."""
        self.features, self.watch = features, watch
        self.encoded_length = features.shape[0] + len(self.prompt_ids)
        self.stage = SequenceStage.READY

    def isolate(self) -> None:
        """Give it a decode batch of its own, because the shared one failed."""
        self.batch_key = dataclasses.replace(self.batch_key, alone=self.sequence_id)


class SequenceTable:
    """All sequences of an engine, by id, and their deadlines.

    `cancel` may be called from any thread, everything else only from the engine's own.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._live: dict[str, Sequence] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._any_cancelled = False

    def __iter__(self) -> Iterator[Sequence]:
        """Iterate over the sequences in order of arrival."""
        return iter(self._live.values())

    def add(self, sequence: Sequence) -> None:
        """Take a sequence in.

        Raises:
            ValueError: Another one with its id is in the table.
        """
        sequence_id, deadline_s = sequence.sequence_id, sequence.request.deadline_s
        if sequence_id in self._live:
            raise ValueError(f"a sequence {sequence_id!r} is in the engine already")
        self._live[sequence_id] = sequence
        if deadline_s is not None:
            heapq.heappush(self._deadlines, (deadline_s, sequence_id))
            self._drop_spent()

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, at its end."""
        del self._live[sequence.sequence_id]
        sequence.stage = SequenceStage.ENDED

    def cancel(self, sequence_id: str) -> None:
        """Mark a sequence as cancelled; unknown ids are ignored. Any thread."""
        sequence = self._live.get(sequence_id)
        if sequence is not None:
            sequence.cancelled = True
            self._any_cancelled = True  # after the mark, so that `take_cancelled` misses none

    def take_cancelled(self) -> list[Sequence]:
        """Return the cancelled sequences in order of arrival."""
        if not self._any_cancelled:  # nearly always, and then nothing is searched
            return []
        self._any_cancelled = False
        return [sequence for sequence in self if sequence.cancelled]

    def take_expired(self, now_s: float) -> list[Sequence]:
        """Return the sequences whose deadline has come, each once, the earliest deadline first."""
        found: dict[Sequence, None] = {}
        while self._deadlines and self._deadlines[0][0] <= now_s:
            _, sequence_id = heapq.heappop(self._deadlines)
            # By now the id may be unknown, or that of another sequence with another deadline.
            sequence = self._live.get(sequence_id)
            if sequence is not None and sequence.expired(now_s):
                found[sequence] = None
        return list(found)

    def bring(self, sha256: str) -> bool:
        """Return whether an image is that of a sequence whose image is not encoded yet."""
        before = (SequenceStage.QUEUED, SequenceStage.ENCODING)
        return any(each.image_sha256 == sha256 and each.stage in before for each in self)

    def clear(self) -> None:
        """Forget all sequences."""
        self._live.clear()
        self._deadlines.clear()

    def _drop_spent(self) -> None:
        """Forget deadlines of sequences that have ended, which may be a day ahead."""
        if len(self._deadlines) <= 2 * len(self._live) + _SPENT_DEADLINES_MAX:
            return
        self._deadlines = [
            (sequence.request.deadline_s, sequence.sequence_id)
            for sequence in self
            if sequence.request.deadline_s is not None
        ]
        heapq.heapify(self._deadlines)
