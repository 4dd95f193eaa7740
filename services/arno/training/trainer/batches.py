"""Turn samples into the tensors of a step; a broken sample is replaced by the next in the order."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import Any, Final, Generic, TypeVar

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from arno.engine.checkpoints.config import PixelRecipe
from arno.engine.checkpoints.tokenizer import PAD_ID, PromptTokenizer
from arno.engine.encoding.image_preparation import make_pixels
from arno.errors import InvalidFieldError
from arno.training.data import Sample, SampleSource
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.schedule import SampleOrder
from arno.training.trainer.settings import ScheduleSettings
from arno.vocabulary import build_prompt, encode

RowT = TypeVar("RowT")
BatchT = TypeVar("BatchT")

IGNORED: Final = -100
"""The label that cross-entropy leaves out."""
_PREFETCHED: Final = 4
"""Batches that each loader process keeps ready."""


@dataclass(frozen=True, slots=True)
class RankBatch(Generic[BatchT]):
    """One process's part of a step.

    Attributes:
        batches: Micro-batches; none where every sample is broken.
        token_count: Number of answer tokens in them; of heads, of images.
        errors: What is wrong with the broken samples met, by the number of the sample.
    """

    batches: tuple[BatchT, ...]
    token_count: int
    errors: dict[int, str]


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples as tensors.

    Shapes: pixels [B, 3, H, W] float32; prompts, seen [B, T] int64: the prompts behind the places
    of the image, and 1 where they are not padding; answers [B, A] int64, padded with `IGNORED`.
    """

    pixels: torch.Tensor
    prompts: torch.Tensor
    seen: torch.Tensor
    answers: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(
            *(
                tensor.to(device, non_blocking=True)
                for tensor in (self.pixels, self.prompts, self.seen, self.answers)
            )
        )


@dataclass(frozen=True, slots=True)
class Collator:
    """Makes batches of samples for one model.

    Attributes:
        tokenizer: The model's tokenizer.
        recipe: How the model's images are prepared.
        image_token_id: The token that stands in the prompt for each feature of the image.
        image_token_count: Number of features of an image.
        position_count: Limit on the tokens of a prompt, and of an answer.
    """

    tokenizer: PromptTokenizer
    recipe: PixelRecipe
    image_token_id: int
    image_token_count: int
    position_count: int

    def row(self, sample: Sample) -> Row:
        """Return one sample as tensors.

        Raises:
            InvalidFieldError: The image is broken, or the sample is too long for the model.
        """
        spec = sample.spec
        image = sample.open_image()
        prompt = build_prompt(
            spec.task, text=spec.text, classes=spec.classes, region=spec.region, size=sample.size
        )
        asked = [self.image_token_id] * self.image_token_count + list(self.tokenizer.encode(prompt))
        answer = self.tokenizer.encode(encode(sample.answer, sample.size))
        for field, tokens in (("prompt", asked), ("answer", answer)):
            if len(tokens) > self.position_count:
                raise InvalidFieldError(
                    field=f"{sample.sample_id}: {field}",
                    problem="longer than the model can take",
                    limit=f"{self.position_count} tokens",
                    sent=f"{len(tokens)} tokens",
                )
        return Row(make_pixels(image, self.recipe), torch.tensor(asked), torch.tensor(answer))

    def batch(self, rows: Sequence[Row]) -> Batch:
        """Return rows padded to one length."""
        prompts = [row.prompt for row in rows]
        return Batch(
            pixels=torch.stack([row.pixels for row in rows]),
            prompts=pad_sequence(prompts, batch_first=True, padding_value=PAD_ID),
            seen=pad_sequence([torch.ones_like(one) for one in prompts], batch_first=True),
            answers=pad_sequence(
                [row.answer for row in rows], batch_first=True, padding_value=IGNORED
            ),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One sample as tensors. Shapes: pixels [3, H, W]; prompt [T]; answer [A]."""

    pixels: torch.Tensor
    prompt: torch.Tensor
    answer: torch.Tensor


class RankBatches(Dataset[RankBatch[BatchT]], Generic[RowT, BatchT]):
    """This process's part of each step, by the number of the step."""

    def __init__(self, sample_count: int, group: ProcessGroup, settings: ScheduleSettings) -> None:
        """Deal the samples of each step in turn to all processes."""
        self._group = group
        self._order = SampleOrder(sample_count, settings.seed)
        self._batch, self._micro_batch = settings.batch, settings.micro_batch
        # With more errors than allowed the run stops anyway.
        self._tries_max = settings.bad_samples_max + 1

    def __getitem__(self, step: int) -> RankBatch[BatchT]:
        errors: dict[int, str] = {}
        start = step * self._batch
        positions = self._group.share(range(start, start + self._batch))
        rows = [row for one in positions if (row := self._row(one, errors)) is not None]
        batches = tuple(
            self.together(rows[first : first + self._micro_batch])
            for first in range(0, len(rows), self._micro_batch)
        )
        return RankBatch(batches, sum(map(self.token_count, rows)), errors)

    def _row(self, position: int, errors: dict[int, str]) -> RowT | None:
        for offset in range(self._tries_max):
            number = self._order.at(position + offset)
            try:
                return self.row(number, position)
            except InvalidFieldError as error:
                errors[number] = error.message
        return None

    def row(self, number: int, position: int) -> RowT:
        """Return a sample as tensors.

        Args:
            number: Of the sample.
            position: Its place in the order of all epochs, for what is random in it.

        Raises:
            InvalidFieldError: The sample is broken.
        """
        raise NotImplementedError

    def token_count(self, row: RowT) -> int:
        """Return how much a sample counts in the loss of its step."""
        raise NotImplementedError

    def together(self, rows: Sequence[RowT]) -> BatchT:
        """Return a micro-batch."""
        raise NotImplementedError


class AnswerBatches(RankBatches[Row, Batch]):
    """Questions with their answers, in batches of equal numbers of samples."""

    def __init__(
        self,
        source: SampleSource,
        collator: Collator,
        group: ProcessGroup,
        settings: ScheduleSettings,
    ) -> None:
        """Take the samples, and what makes tensors of them."""
        super().__init__(len(source), group, settings)
        self._source, self._collator = source, collator

    def row(self, number: int, position: int) -> Row:
        """Return a sample as tensors; nothing in it is random."""
        del position
        return self._collator.row(self._source[number])

    def token_count(self, row: Row) -> int:
        """Return the number of tokens of a sample's answer."""
        return len(row.answer)

    def together(self, rows: Sequence[Row]) -> Batch:
        """Return rows padded to one length."""
        return self._collator.batch(rows)


def read_ahead(
    dataset: Dataset[RankBatch[BatchT]], steps: range, processes: int
) -> Generator[RankBatch[BatchT], None, None]:
    """Yield the batches of the steps, made ahead by loader processes; by this one where 0.

    Closing it ends the loaders. Main thread only: it changes the handler of SIGINT for a moment.
    """
    if not processes:
        yield from (dataset[step] for step in steps)
        return
    _start_fork_server()
    yield from DataLoader(
        dataset,
        batch_size=None,
        sampler=steps,
        num_workers=processes,
        prefetch_factor=_PREFETCHED,
        worker_init_fn=_become_loader,
        # A fork of this process would inherit the locks that its other threads hold at that moment:
        # the metrics server has a thread.
        multiprocessing_context="forkserver",
    )


def _start_fork_server() -> None:
    """Start the process that loaders are forked from, with torch imported and SIGINT ignored.

    Loaders inherit that. Ctrl-C reaches every process of a terminal: the training process finishes
    its step and saves it, for which its loaders must live.
    """
    forkserver.set_forkserver_preload([__name__])
    before: Any = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def _become_loader(_number: int) -> None:
    # Batches are ready ahead of time, so the training process has the first claim on the processor.
    os.nice(1)
    torch.set_num_threads(1)
