"""Turn samples into the tensors of a step; broken ones are replaced by the next in the order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from arno.engine.checkpoints.config import PixelRecipe
from arno.engine.checkpoints.tokenizer import PAD_ID, PromptTokenizer
from arno.engine.image_preparation import make_pixels
from arno.errors import InvalidFieldError
from arno.training.data import Sample, SampleSource
from arno.training.trainer.order import SampleOrder
from arno.training.trainer.ranks import Ranks
from arno.training.trainer.settings import ScheduleSettings
from arno.vocabulary import build_prompt, encode

IGNORED = -100
"""What cross-entropy passes over."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples as tensors.

    Shapes: pixels [B, 3, H, W] float32; prompts, seen [B, T] int64, the prompts behind places for
    the image, and 1 where they are not padding; answers [B, A] int64, padded with `IGNORED`.
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
class Portion:
    """One process's part of a step.

    Attributes:
        batches: Micro-batches; none only where every sample is broken.
        token_count: Answer tokens in them.
        faults: What is wrong with the broken samples met, by their number in the source.
    """

    batches: tuple[Batch, ...]
    token_count: int
    faults: dict[int, str]


@dataclass(frozen=True, slots=True)
class Collator:
    """What turns samples into a batch.

    Attributes:
        tokenizer: Of the model.
        recipe: How its images are prepared.
        image_token_id: Stands where the image's features go.
        image_token_count: How many of them an image has.
        position_count: Most tokens on either side.
    """

    tokenizer: PromptTokenizer
    recipe: PixelRecipe
    image_token_id: int
    image_token_count: int
    position_count: int

    def row(self, sample: Sample) -> Row:
        """Return one sample as tensors.

        Raises:
            InvalidFieldError: Its image is broken, or it is too long for the model.
        """
        spec = sample.spec
        picture = sample.open_image()
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
        return Row(make_pixels(picture, self.recipe), torch.tensor(asked), torch.tensor(answer))

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


class Portions(Dataset[Portion]):
    """This process's part of each step, by the step's number."""

    def __init__(
        self,
        source: SampleSource,
        collator: Collator,
        ranks: Ranks,
        settings: ScheduleSettings,
    ) -> None:
        """Deal out the samples of each step to all processes in turn."""
        self._source, self._collator, self._ranks = source, collator, ranks
        self._order = SampleOrder(len(source), settings.seed)
        self._batch, self._micro_batch = settings.batch, settings.micro_batch
        self._tries_max = settings.bad_samples_max + 1

    def __getitem__(self, step: int) -> Portion:
        faults: dict[int, str] = {}
        start = step * self._batch
        places = range(start + self._ranks.rank, start + self._batch, self._ranks.count)
        rows = [row for place in places if (row := self._row(place, faults)) is not None]
        batches = tuple(
            self._collator.batch(rows[first : first + self._micro_batch])
            for first in range(0, len(rows), self._micro_batch)
        )
        return Portion(batches, sum(len(row.answer) for row in rows), faults)

    def _row(self, place: int, faults: dict[int, str]) -> Row | None:
        # Beyond so many the run stops anyway.
        for offset in range(self._tries_max):
            number = self._order.at(place + offset)
            try:
                return self._collator.row(self._source[number])
            except InvalidFieldError as fault:
                faults[number] = fault.message
        return None


def read_ahead(portions: Portions, steps: range, processes: int) -> Iterator[Portion]:
    """Yield the portions of the steps, made by processes of their own where there are any."""
    return iter(
        DataLoader(
            portions,
            batch_size=None,
            sampler=steps,
            num_workers=processes,
            prefetch_factor=4 if processes else None,
            worker_init_fn=_one_thread,
        )
    )


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
