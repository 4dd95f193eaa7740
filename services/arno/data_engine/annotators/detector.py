"""Detectors of transformers as annotators: any model of `AutoModelForObjectDetection`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from PIL.Image import Image
from transformers import AutoImageProcessor, AutoModelForObjectDetection
from transformers.utils import logging

from arno.data_engine.annotators.annotator import Finding
from arno.dataset.records import RegionKind
from arno.errors import ModelError

_WEIGHTS: Final = ("*.safetensors", "*.bin")


class Detector:
    """Finds objects of the classes that the model was trained on, with the model's scores."""

    def __init__(self, model: str, *, score_min: float = 0.05, download: bool = False) -> None:
        """Load a model.

        Args:
            model: A folder, or a hub id, which must be in the local cache unless `download`.
            score_min: Detections whose score is below are not findings; filters decide later.
            download: Whether a hub id may be fetched.

        Raises:
            ModelError: It cannot be found, or is no detector.
        """
        options: dict[str, Any] = {"local_files_only": not download}
        try:
            self._processor: Any = image_processor_of(model, options)
            self._model: Any = model_of(AutoModelForObjectDetection, model, options)
        except (OSError, ValueError) as error:
            problem = str(error).splitlines()[0]
            raise ModelError(f"{model}: no detector of transformers: {problem}") from error
        self._score_min = score_min
        self.fingerprint = fingerprint_of(model, self._model)

    def __call__(self, image: Image) -> Iterator[Finding]:
        """Yield the objects of an image."""
        with torch.inference_mode():
            outputs = self._model(**self._processor(images=image, return_tensors="pt"))
            (found,) = self._processor.post_process_object_detection(
                outputs, threshold=self._score_min, target_sizes=[(image.height, image.width)]
            )
        labels = self._model.config.id2label
        for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True):
            yield {
                "box": tuple(box.tolist()),
                "kind": RegionKind.CATEGORY,
                "text": labels[label.item()],
                "score": min(score.item(), 1.0),
            }


def image_processor_of(model: str, options: Mapping[str, Any]) -> Any:
    """Return what turns pictures into the pixels of a model, by Pillow.

    Left alone, transformers resizes by torchvision where that is installed, which gives other
    pixels: what a model finds would depend on the extras of the machine. A model whose processor
    has no variant for Pillow takes torchvision's.

    Raises:
        OSError: The model cannot be found.
        ValueError: It has no processor of images.
    """
    loader: Any = AutoImageProcessor
    return loader.from_pretrained(model, backend="pil", **options)


def model_of(loader: Any, model: str, options: Mapping[str, Any]) -> Any:
    """Return a model of transformers for inference, loaded without a bar: a run shows its own.

    Args:
        loader: A class of transformers with `from_pretrained`.
        model: A folder, or a hub id.
        options: Of `from_pretrained`.

    Raises:
        OSError: The model cannot be found.
        ValueError: The class has no such model.
    """
    transformers_logs: Any = logging
    shown = transformers_logs.is_progress_bar_enabled()
    transformers_logs.disable_progress_bar()
    try:
        return loader.from_pretrained(model, **options).eval()
    finally:
        if shown:
            transformers_logs.enable_progress_bar()


def fingerprint_of(name: str, model: Any) -> str:
    """Return the hub's commit of a model, or the SHA-256 of a folder's weights."""
    folder = Path(name)
    if not folder.is_dir():
        return str(getattr(model.config, "_commit_hash", "") or "")
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
