"""What an engine does: prepare images, take sequences, step, cancel.

Token ids with their log-probabilities come out. The worker drives it: ``prepare`` runs on the
worker's CPU threads, everything else on the one thread that owns the engine. An engine knows
nothing of jobs, buses or stores; a sequence is one task of a job, named by a string that the worker
chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import torch

    from arno.errors import ArnoError
    from arno.vocabulary import FinishReason, ImageSize, TokenTable
    from arno.vocabulary.grammars import Constraint


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image ready for the vision encoder.

    Attributes:
        sha256: Digest of the encoded file, lower-case hex: the key under which its encoding may be
            kept.
        pixels: [C=3, H, W] float32, resized to the model's size, channels normalised. None from an
            engine that never looks at them.
        size: Width and height as a viewer shows the image, in pixels.
        mime_type: Such as ``image/png``.
        prepare_s: How long preparing took.
    """

    sha256: str
    pixels: torch.Tensor | None
    size: ImageSize
    mime_type: str
    prepare_s: float


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """How to decode; the defaults are the model's authors', never a checkpoint's own config.

    Attributes:
        num_beams: 1 is greedy.
        max_new_tokens: End included; cut to the model's positions.
        no_repeat_ngram_size: 0 allows repeats.
        length_penalty: Exponent of the length that divides a beam's log-probability.
        early_stopping: True: a full set of finished beams ends the search. False: only once no
            running beam is likely to beat them. "never": only once none can.
    """

    num_beams: int = 3
    max_new_tokens: int = 1024
    no_repeat_ngram_size: int = 3
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = True


@dataclass(frozen=True, slots=True)
class SequenceRequest:
    """One task to decode.

    Attributes:
        sequence_id: Unique among the engine's live sequences.
        image: What ``Engine.prepare`` gave.
        prompt: The full training prompt.
        options: How to decode.
        deadline_s: On the engine's monotonic clock; after it the sequence is retired with what it
            has. None: never.
        lane: Priority class, for the scheduler.
        tenant: Whose work it is, for fairness.
        expected_token_count: Predicted length of the answer, for the scheduler.
        constraint: What the answer is held to; None leaves the model its own way.
    """

    sequence_id: str
    image: PreparedImage
    prompt: str
    options: DecodingOptions
    deadline_s: float | None
    lane: str
    tenant: str
    expected_token_count: int
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class SequenceProgress:
    """A sequence has moved on.

    Attributes:
        sequence_id: Which.
        encoded: Whether its image is encoded.
        token_count: Tokens so far.
    """

    sequence_id: str
    encoded: bool
    token_count: int


@dataclass(frozen=True, slots=True)
class SequenceFinished:
    """A sequence has ended; its slot is free.

    Attributes:
        sequence_id: Which.
        token_ids: Generated tokens without the decoder's start token, end token included where
            there is one. Empty if it never ran.
        logprobs: Natural log-probability of each token, 0.0 for forced ones; as long as
            ``token_ids``.
        finish_reason: Why it ended.
        encode_s: Seconds in the vision encoder; 0.0 where the encoding was there already.
        decode_s: Seconds from submission to the end, without ``encode_s``.
        error: Set when the reason is ERROR.
    """

    sequence_id: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    encode_s: float
    decode_s: float
    error: ArnoError | None = None


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """An engine at one moment; counts are since the start.

    Attributes:
        waiting_count: Submitted and not started.
        running_count: Decoding, or encoded and about to.
        step_count: Decode steps, each of every sequence in the batch.
        encoded_image_count: Images that went through the vision encoder.
        reused_image_count: Sequences whose image was already encoded.
        token_count: Tokens decoded.
        batch_size_last: Sequences in the last batch.
        failed_batch_count: Batches that failed and were split.
    """

    waiting_count: int
    running_count: int
    step_count: int
    encoded_image_count: int
    reused_image_count: int
    token_count: int
    batch_size_last: int
    failed_batch_count: int


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Which model an engine runs.

    Attributes:
        name: The operator's name for it.
        fingerprint: Hex digest over weights, configuration and tokenizer.
        dtype: Number format of the weights.
        position_count: Longest answer in tokens.
        image_size_px: Side of the square image that the vision encoder sees.
    """

    name: str
    fingerprint: str
    dtype: str
    position_count: int
    image_size_px: int


class Engine(Protocol):
    """Runs sequences.

    ``prepare``, ``cancel`` and ``statistics`` may be called from any thread, all else only from the
    one that owns the engine.
    """

    @property
    def card(self) -> ModelCard:
        """Which model this is."""

    @property
    def token_table(self) -> TokenTable:
        """How to read its token ids."""

    def warm_up(self) -> None:
        """Run every shape once and check that the model answers; call before readiness.

        Raises:
            ModelError: The model answers with nothing but special tokens.
        """

    def prepare(self, content: bytes) -> PreparedImage:
        """Decode, orient, resize and normalise an image file.

        Raises:
            InvalidImageError: It cannot be decoded.
            LimitExceededError: It has more pixels than the configured maximum; found before
                anything is allocated.
        """

    def submit(self, request: SequenceRequest) -> None:
        """Take a sequence. It ends exactly once, in a later ``step``."""

    def step(self) -> Sequence[SequenceProgress | SequenceFinished]:
        """Do one unit of work and tell what changed; nothing, at once, where nothing waits."""

    def cancel(self, sequence_id: str) -> None:
        """Stop a sequence at the next step, which reports it finished as CANCELLED.

        Unknown ids are ignored. May be called from any thread.
        """

    def statistics(self) -> EngineStatistics:
        """Return the numbers of this moment. May be called from any thread."""

    def close(self) -> None:
        """Free the model. Idempotent."""
