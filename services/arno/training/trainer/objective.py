"""What a run minimises, and the objective of `arno train`: cross-entropy on the answer's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import nn
from torch.nn import functional

from arno.engine.checkpoints.tokenizer import END_ID, PAD_ID
from arno.errors import InvalidFieldError
from arno.training.data import SampleSource
from arno.training.trainer.batches import IGNORED, Batch, Collator, Row
from arno.training.trainer.log import VALIDATION_LOSS
from arno.training.trainer.model import TrainableModel
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings

BatchT_contra = TypeVar("BatchT_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Step:
    """What a loss may depend on beside weights and batch.

    Attributes:
        number: Number of the step, from 0.
        token_count: Answer tokens of the step, over all processes.
        process_count: Number of processes.
    """

    number: int
    token_count: int
    process_count: int


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of one micro-batch.

    Attributes:
        value: A scalar; the loss of a step is the sum over a process's micro-batches, averaged over
            all processes.
        parts: Figures for the log, by name; those of micro-batches are added up.
    """

    value: torch.Tensor
    parts: Mapping[str, float] = field(default_factory=dict)


class Objective(Protocol[BatchT_contra]):
    """A network and the loss that trains it."""

    @property
    def network(self) -> Any:
        """The module whose weights are trained."""

    @property
    def device(self) -> torch.device:
        """The device of the network."""

    @property
    def partly_used(self) -> bool:
        """Whether a loss may leave out some of the weights."""

    def start(self) -> None:
        """Put the network into training mode."""

    def loss(self, network: Any, batch: BatchT_contra, step: Step) -> Loss:
        """Return the loss of a micro-batch.

        Args:
            network: The module `network`, or the wrapper that averages its gradients.
            batch: One micro-batch.
            step: The step that it belongs to.
        """


class Evaluator(Protocol):
    """Measures the network now and then."""

    @property
    def every_steps(self) -> int:
        """Number of steps between two measurements; the last step is always measured."""

    @property
    def changes_data(self) -> bool:
        """Whether a measurement decides which batches come next, so that they are made anew."""

    def measure(self) -> Mapping[str, float]:
        """Return figures for the log; called in every process after the same step."""


class AnswerObjective:
    """Mean cross-entropy over all answer tokens of a step, however it is cut into batches."""

    partly_used = False

    def __init__(self, model: TrainableModel, settings: TrainSettings) -> None:
        """Take the model; `settings` decide the number format and whether vision is frozen."""
        self.network = model.network
        self.device = model.device
        self._model, self._settings = model, settings
        self._bfloat16 = settings.precision == "bfloat16" or (
            settings.precision == "auto" and model.device.type == "cuda"
        )

    def start(self) -> None:
        """Put the network into training mode, a frozen vision tower excepted."""
        self.network.train()
        if self._settings.freeze_vision:
            self._model.checkpoint.network.model.vision_tower.train(mode=False)

    def loss(self, network: Any, batch: Batch, step: Step) -> Loss:
        """Return the loss of a micro-batch."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            summed = answer_loss(network, batch.to(self.device))
        # Averaged over the processes, this is the mean over all tokens of the step.
        return Loss(summed * (step.process_count / step.token_count))


def answer_loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    """Return the sum of the cross-entropy over the answers' tokens, in float32.

    Args:
        network: A `Florence2ForConditionalGeneration`, wrapped or not.
        batch: A batch on the network's device.
    """
    # Padding stands behind the answer, where a causal decoder cannot see it: no mask is needed.
    output: Any = network(
        input_ids=batch.prompts,
        attention_mask=batch.seen,
        pixel_values=batch.pixels,
        decoder_input_ids=decoder_inputs(batch.answers),
        use_cache=False,
    )
    return functional.cross_entropy(
        output.logits.float().flatten(0, 1),
        batch.answers.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )


def decoder_inputs(answers: torch.Tensor) -> torch.Tensor:
    """Return what the decoder reads to write the answers: shifted by one behind the start token.

    Shapes: answers, result [B, T]; `IGNORED` becomes padding.
    """
    shifted = torch.full_like(answers, END_ID)  # what the decoder starts with
    shifted[:, 1:] = answers[:, :-1]
    shifted[shifted == IGNORED] = PAD_ID
    return shifted


class Validation:
    """The same loss on data that is never trained on; broken samples are skipped."""

    changes_data = False

    def __init__(
        self,
        source: SampleSource,
        model: TrainableModel,
        group: ProcessGroup,
        settings: TrainSettings,
    ) -> None:
        """Deal the samples of `source` to all processes."""
        self.every_steps = settings.checkpoint_steps
        self._source, self._model, self._group = source, model, group
        self._collator: Collator = model.collator()
        self._micro_batch = settings.micro_batch

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Return the mean cross-entropy of all answer tokens; not a number where there are none."""
        network = self._model.network
        modes = [(module, module.training) for module in network.modules()]
        network.train(mode=False)
        numbers = self._group.share(range(len(self._source)))
        sums = torch.zeros(2, dtype=torch.float64)
        for start in range(0, len(numbers), self._micro_batch):
            part = numbers[start : start + self._micro_batch]
            rows = [row for number in part if (row := self._row(number)) is not None]
            if rows:
                batch = self._collator.batch(rows).to(self._model.device)
                sums[0] += float(answer_loss(network, batch))
                sums[1] += sum(len(row.answer) for row in rows)
        for module, training in modes:
            module.training = training
        summed = self._group.all_sum(sums.to(self._model.device, torch.float32))
        loss, tokens = summed.tolist()
        return {VALIDATION_LOSS: float(loss / tokens) if tokens else float("nan")}

    def _row(self, number: int) -> Row | None:
        try:
            return self._collator.row(self._source[number])
        except InvalidFieldError:
            return None
