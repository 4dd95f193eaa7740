"""Captioners of transformers as annotators: any model of `AutoModelForImageTextToText`.

Stands alone: it alone needs such a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from PIL.Image import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from arno.data_engine.annotators.annotator import Finding
from arno.data_engine.annotators.detector import fingerprint_of, image_processor_of, model_of
from arno.dataset.records import Granularity
from arno.errors import ModelError

_TOKENS_MAX: Final = 64


class Captioner:
    """Writes a brief text about each image; its score is the mean probability of its tokens."""

    def __init__(self, model: str, *, download: bool = False) -> None:
        """Load a model.

        Args:
            model: A folder, or a hub id, which must be in the local cache unless `download`.
            download: Whether a hub id may be fetched.

        Raises:
            ModelError: It cannot be found, or is no captioner.
        """
        options: dict[str, Any] = {"local_files_only": not download}
        try:
            processor: Any = AutoProcessor
            self._processor: Any = processor.from_pretrained(model, **options)
            self._processor.image_processor = image_processor_of(model, options)
            self._model: Any = model_of(AutoModelForImageTextToText, model, options)
        except (OSError, ValueError) as error:
            problem = str(error).splitlines()[0]
            raise ModelError(f"{model}: no captioner of transformers: {problem}") from error
        self.fingerprint = fingerprint_of(model, self._model)

    def __call__(self, image: Image) -> Iterator[Finding]:
        """Yield the text of an image; nothing where the model writes none."""
        asked = self._processor(images=image, return_tensors="pt")
        with torch.inference_mode():
            written = self._model.generate(
                **asked,
                max_new_tokens=_TOKENS_MAX,
                do_sample=False,
                num_beams=1,
                output_scores=True,
                return_dict_in_generate=True,
            )
            sure = self._model.compute_transition_scores(
                written.sequences, written.scores, normalize_logits=True
            )
        (text,) = self._processor.batch_decode(written.sequences, skip_special_tokens=True)
        if text.strip():
            score = float(sure.exp().mean())
            yield {"granularity": Granularity.BRIEF, "text": text.strip(), "score": min(score, 1.0)}
