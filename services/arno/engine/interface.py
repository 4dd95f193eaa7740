"""The interface of an engine: prepare images, submit sequences, step, cancel.

It returns token ids and their log-probabilities. ``prepare`` runs on the caller's CPU threads,
everything else on the one thread that owns the engine. An engine does not depend on jobs, buses or
stores; a sequence is one task of a job, under an id that the caller chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from arno.vocabulary.calibration import UNCALIBRATED, Calibration

if TYPE_CHECKING:
    import torch

    from arno.errors import ArnoError
    from arno.vocabulary import AnswerValue, Decoded, FinishReason, ImageSize, Task, TokenTable
    from arno.vocabulary.task_grammars import Constraint


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image ready for the vision encoder.

    Attributes:
        sha256: Digest of the image file, lower-case hex: the key of its encoding in the cache.
        pixels: [C=3, H, W] uint8, resized to the model's size; the engine normalises them, because
            as levels they take a quarter of the memory. None from an engine without a vision
            encoder, and where there are features.
        size: Width and height as a viewer shows the image, in pixels.
        mime_type: Such as ``image/png``.
        prepare_s: Seconds that preparing took.
        features: What it is encoded to, [V, D], of an image that was encoded before.
    """

    sha256: str
    pixels: torch.Tensor | None
    size: ImageSize
    mime_type: str
    prepare_s: float
    features: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """How to decode; the defaults are the model's authors', never a checkpoint's own config.

    Attributes:
        num_beams: 1 is greedy.
        max_new_tokens: Most tokens of an answer, the end included; cut to the model's positions.
        no_repeat_ngram_size: N-grams of this size occur once in an answer; 0 allows repeats.
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
        image: The result of ``Engine.prepare``.
        prompt: The full prompt, as in training.
        options: How to decode.
        deadline_s: Monotonic time at which the sequence ends with the tokens that it has; None:
            never.
        lane: Priority class, for the scheduler.
        tenant: Tenant that is charged for it, for fairness.
        expected_token_count: Predicted length of the answer, for the scheduler.
        constraint: Form that the answer is held to; None leaves it free.
        candidates: Answers to compute the probabilities of, as the model would write them. With
            any, the model writes no answer, and options and constraint have no effect.
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
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SequenceProgress:
    """A sequence has advanced.

    Attributes:
        sequence_id: Its id.
        encoded: Whether its image is encoded.
        token_count: Tokens decoded so far.
    """

    sequence_id: str
    encoded: bool
    token_count: int


@dataclass(frozen=True, slots=True)
class SequenceFinished:
    """A sequence has ended; its slot is free.

    Attributes:
        sequence_id: Its id.
        token_ids: Decoded tokens, without the decoder's start token and with the end token, if any.
            Empty if it never ran.
        logprobs: Natural log-probability of each token, 0.0 for forced ones; as long as
            ``token_ids``.
        finish_reason: Why it ended.
        encode_s: Seconds in the vision encoder; 0.0 where the image was encoded before.
        decode_s: Seconds from submission to the end, without ``encode_s``.
        error: Set if the reason is ERROR.
        deviations: Mean absolute deviation of each location token from its bin, in bins, 0.0 for
            other tokens; as long as ``token_ids``. Empty if the engine computes none.
        end_chances: Probability of the end in place of each token, 0.0 for the forced first one; as
            long as ``token_ids``. Empty if the engine keeps none.
        candidates: The request's candidates with what the model computed for their tokens, in
            their order; the fields above are then those of the likeliest. Empty if it never ran.
        value: The answer itself, from an engine that writes no tokens; None from all others.
    """

    sequence_id: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    encode_s: float
    decode_s: float
    error: ArnoError | None = None
    deviations: tuple[float, ...] = ()
    candidates: tuple[Decoded, ...] = ()
    end_chances: tuple[float, ...] = ()
    value: AnswerValue | None = None


Event: TypeAlias = SequenceProgress | SequenceFinished
"""What a step reports of a sequence."""


@dataclass(slots=True)
class EngineStatistics:
    """An engine's own counters since its start, and its sequences at this moment.

    The engine's thread changes its one object; ``Engine.statistics`` returns copies.

    Attributes:
        waiting_count: Sequences that wait for their image to be encoded.
        running_count: Sequences from there on until they end.
        step_count: Decode steps.
        encoded_image_count: Images that went through the vision encoder.
        reused_image_count: Sequences whose image was encoded before.
        token_count: Tokens decoded.
        batch_size_last: Sequences in the widest batch of the last step.
        failed_batch_count: Batches that failed and were split.
    """

    waiting_count: int = 0
    running_count: int = 0
    step_count: int = 0
    encoded_image_count: int = 0
    reused_image_count: int = 0
    token_count: int = 0
    batch_size_last: int = 0
    failed_batch_count: int = 0


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The model that an engine runs.

    Attributes:
        name: Its name in the settings.
        fingerprint: Hex digest over weights, configuration and tokenizer.
        dtype: Number format of the weights.
        position_count: Most tokens of an answer.
        image_size_px: Side of the square image that the vision encoder takes.
        calibration: Makes the scores of its answers calibrated; without maps if none was fitted.
        categories: The only labels that it knows, of a head; empty where labels are free.
        tasks: The only tasks that it answers, of a head; empty where it answers all.
        compiled: Whether its vision encoder is the one that `arno model compile` keeps.
    """

    name: str
    fingerprint: str
    dtype: str
    position_count: int
    image_size_px: int
    calibration: Calibration = UNCALIBRATED
    categories: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()
    compiled: bool = False


class Engine(Protocol):
    """Runs sequences.

    ``prepare``, ``cancel`` and ``statistics`` may be called from any thread, everything else only
    from the one that owns the engine.
    """

    @property
    def card(self) -> ModelCard:
        """The model that it runs."""

    @property
    def token_table(self) -> TokenTable:
        """The table that its token ids are read with."""

    def warm_up(self) -> None:
        """Run every shape once and check that the model answers; call it before readiness.

        Raises:
            ModelError: The model answers with special tokens only.
        """

    def prepare(self, content: bytes) -> PreparedImage:
        """Decode, orient, resize and normalise an image file.

        Raises:
            InvalidImageError: It cannot be decoded.
            LimitExceededError: It has more pixels than the configured maximum; checked before
                memory for them is allocated.
        """

    def submit(self, request: SequenceRequest) -> None:
        """Queue a sequence. It ends exactly once, in a later ``step``.

        Raises:
            ValueError: A sequence with its id is in the engine already.
        """

    def step(self) -> Sequence[Event]:
        """Do one unit of work and return what changed; with no work, return nothing at once."""

    def cancel(self, sequence_id: str) -> None:
        """End a sequence as CANCELLED at the next step. Unknown ids are ignored. Any thread."""

    def statistics(self) -> EngineStatistics:
        """Return a copy of the counters as they are now. Any thread."""

    def close(self) -> None:
        """Free the model. Idempotent."""
