"""Image-text similarity models of transformers: CLIP, SigLIP and their kin.

As an annotator it scores the texts that images have already, by the cosine of text and image, in
place of a score of their annotator. Stands alone: it alone needs such a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from PIL.Image import Image
from transformers import AutoModel, AutoProcessor

from arno.data_engine.annotators.annotator import LIMITS, Work, share
from arno.data_engine.annotators.detector import fingerprint_of, image_processor_of, model_of
from arno.errors import ArnoError, ModelError
from arno.images.decode import decode_image


class Similarity:
    """Says how well texts fit a picture: the cosine of their vectors, negative as 0."""

    def __init__(self, model: str, *, download: bool = False) -> None:
        """Load a model.

        Args:
            model: A folder, or a hub id, which must be in the local cache unless `download`.
            download: Whether a hub id may be fetched.

        Raises:
            ModelError: It cannot be found, or has no vectors of texts and images.
        """
        options: dict[str, Any] = {"local_files_only": not download}
        try:
            processor: Any = AutoProcessor
            self._processor: Any = processor.from_pretrained(model, **options)
            self._processor.image_processor = image_processor_of(model, options)
            self._model: Any = model_of(AutoModel, model, options)
        except (OSError, ValueError) as error:
            problem = str(error).splitlines()[0]
            raise ModelError(f"{model}: no similarity model of transformers: {problem}") from error
        if not hasattr(self._model, "get_text_features"):
            raise ModelError(f"{model}: has no vectors of texts and images, as CLIP and SigLIP do")
        self.fingerprint = fingerprint_of(model, self._model)

    def __call__(self, image: Image, texts: Sequence[str]) -> list[float]:
        """Return for each text how well it fits, 0..1."""
        asked = self._processor(
            text=list(texts), images=image, return_tensors="pt", padding=True, truncation=True
        )
        with torch.inference_mode():
            output = self._model(**asked)
        said = torch.nn.functional.normalize(output.text_embeds, dim=-1)  # [texts, width]
        seen = torch.nn.functional.normalize(output.image_embeds, dim=-1)  # [1, width]
        return [max(0.0, min(1.0, one)) for one in (said @ seen.T)[:, 0].tolist()]


class SimilarityScorer:
    """Gives every text of an image its similarity as score. An annotator that finds nothing new."""

    def __init__(self, similarity: Similarity, *, name: str) -> None:
        """Take the model."""
        self.name = name
        self.identity: Mapping[str, Any] = {"model": similarity.fingerprint, "scores": "texts"}
        self._similarity = similarity

    def annotate(self, works: Iterable[Work]) -> Iterator[Work]:
        """Yield each work once, in order."""
        for work in works:
            texts = work.annotations.texts
            if texts:
                try:
                    picture = decode_image(work.item.open_image(), LIMITS, field="image").picture
                    scores = self._similarity(picture, [text.text for text in texts])
                except ArnoError as error:
                    work.failures.append((self.name, error))
                else:
                    work.annotations.texts = [
                        text.model_copy(
                            update={
                                "provenance": text.provenance.model_copy(
                                    update={"score": share(score)}
                                )
                            }
                        )
                        for text, score in zip(texts, scores, strict=True)
                    ]
            yield work
