"""transformers' Florence-2 as its documentation says to use it: what all peers are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from arno.engine.checkpoints.config import read_recipe
from arno.engine.encoding.image_preparation import ImagePreparer, Normaliser
from arno.engine.settings import EngineSettings
from transformers import (
    AutoTokenizer,
    Florence2ForConditionalGeneration,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)

from benchmarks.ask import Ask, Serving

_BEGIN, _PAD, _END = 0, 1, 2


class EndAtLimit(LogitsProcessor):
    """Gives every row of a batch the limit on tokens that it would have alone.

    At a row's own limit the end is forced, as `forced_eos_token_id` does at the batch's.
    """

    def __init__(self, limits: Sequence[int]) -> None:
        """Take the limits, the start token not counted."""
        self._limits = torch.tensor(limits)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores of the next token of every beam, [B * K, V]."""
        beams = scores.shape[0] // len(self._limits)
        over = (self._limits == input_ids.shape[1]).repeat_interleave(beams).to(scores.device)
        if not bool(over.any()):
            return scores
        scores = scores.masked_fill(over[:, None], -torch.inf)
        scores[over, _END] = 0.0
        return scores


class Florence:
    """A model and its tokenizer. One thread."""

    def __init__(self, serving: Serving) -> None:
        """Load a checkpoint."""
        folder = Path(serving.model)
        self._device = serving.device
        self._dtype = getattr(torch, serving.dtype)
        loader: Any = Florence2ForConditionalGeneration
        self.network = loader.from_pretrained(folder, dtype=self._dtype).eval().to(self._device)
        # All options are given by name; a checkpoint's own would fill gaps.
        self.network.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # as it is
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._recipe = read_recipe(folder)
        self._preparer = ImagePreparer(self._recipe, EngineSettings.model_validate({}))
        self._normalise = Normaliser(self._recipe)
        self._image_places = 0

    def answer(self, asks: Sequence[Ask]) -> list[tuple[int, ...]]:
        """Return the tokens of every answer, from image files and prompts of equal options."""
        pixels = torch.stack([self._pixels(ask) for ask in asks]).to(self._device, self._dtype)
        rows = [self._prompt(ask, pixels) for ask in asks]
        longest = max(map(len, rows))
        padded = [row + [_PAD] * (longest - len(row)) for row in rows]
        real = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        limits = [ask.token_limit for ask in asks]
        first = asks[0]
        beams = {"early_stopping": True, "length_penalty": 1.0} if first.num_beams > 1 else {}
        with torch.inference_mode():
            tokens = self.network.generate(
                input_ids=torch.tensor(padded, device=self._device),
                attention_mask=torch.tensor(real, device=self._device),
                pixel_values=pixels,
                num_beams=first.num_beams,
                max_new_tokens=max(limits),
                no_repeat_ngram_size=first.no_repeat_ngram_size,
                do_sample=False,
                decoder_start_token_id=_END,
                bos_token_id=_BEGIN,
                forced_bos_token_id=_BEGIN,
                eos_token_id=_END,
                forced_eos_token_id=_END,
                pad_token_id=_PAD,
                logits_processor=LogitsProcessorList([EndAtLimit(limits)]),
                **beams,
            )
        return [_answer(row) for row in tokens[:, 1:].tolist()]

    def _pixels(self, ask: Ask) -> torch.Tensor:
        pixels = self._preparer.prepare(ask.image).pixels
        assert pixels is not None
        return self._normalise(pixels)

    def _prompt(self, ask: Ask, pixels: torch.Tensor) -> list[int]:
        text = "<s>" + ask.prompt + "</s>"
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return [self.network.config.image_token_id] * self._places(pixels) + ids

    def _places(self, pixels: torch.Tensor) -> int:
        """Return how many tokens an image becomes, as the processor would know."""
        if not self._image_places:
            with torch.inference_mode():
                encoded = self.network.get_image_features(pixels[:1]).pooler_output
            self._image_places = encoded.shape[1]
        return self._image_places


def _answer(row: list[int]) -> tuple[int, ...]:
    """Return a row up to its end, without the padding of its batch."""
    return tuple(row[: row.index(_END) + 1] if _END in row else row)
