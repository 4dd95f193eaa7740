"""Encode the images of a batch: each image once, and none that is still kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from transformers import Florence2ForConditionalGeneration

from arno.engine.bisect import run_bisecting
from arno.engine.encoded_cache import EncodedCache
from arno.engine.interface import PreparedImage
from arno.engine.memory import ran_out

_CPU_PIXELS_AT_ONCE: Final = 2 * 768 * 768
"""More in one pass are slower on a CPU: of the base model's images, two take 2.6 s each on two
cores, and four 3.7 s each, for what lies between two layers is then tens of megabytes."""


@dataclass(frozen=True, slots=True)
class EncodedImages:
    """What became of the images of a batch, by their SHA-256.

    Attributes:
        features: Those that are encoded, [V, D] each.
        faults: Those that could not be.
        fresh: Those that went through the vision encoder just now.
        encode_s: How long that took.
        failed_batch_count: Batches that failed and were split.
    """

    features: dict[str, torch.Tensor]
    faults: dict[str, Exception]
    fresh: frozenset[str]
    encode_s: float
    failed_batch_count: int


class ImageEncoding:
    """The vision encoder and its cache. One thread."""

    def __init__(self, network: Florence2ForConditionalGeneration, cache_bytes: int) -> None:
        """Take the model, and how many bytes of encoded images may be kept."""
        self._network = network
        self._cache = EncodedCache(cache_bytes)

    def keeps(self, sha256: str) -> bool:
        """Return whether an image is encoded already."""
        return sha256 in self._cache

    def encode(self, images: Sequence[PreparedImage]) -> EncodedImages:
        """Return the encoding of every image; duplicates are welcome."""
        started_s = time.perf_counter()
        by_digest = {image.sha256: image for image in images}
        kept = {digest: self._cache.get(digest) for digest in by_digest}
        features = {digest: found for digest, found in kept.items() if found is not None}
        missing = [image for digest, image in by_digest.items() if digest not in features]
        if not missing:
            return EncodedImages(features, {}, frozenset(), 0.0, 0)
        encoded = run_bisecting(missing, self._run)
        for survivor in encoded.survivors:
            features[survivor.member.sha256] = survivor.outcome
            self._cache.put(survivor.member.sha256, survivor.outcome)
        return EncodedImages(
            features=features,
            faults={casualty.member.sha256: casualty.fault for casualty in encoded.casualties},
            fresh=frozenset(survivor.member.sha256 for survivor in encoded.survivors),
            encode_s=time.perf_counter() - started_s,
            failed_batch_count=encoded.failed_batch_count,
        )

    def _run(self, images: Sequence[PreparedImage]) -> list[torch.Tensor]:
        pixels = [image.pixels for image in images if image.pixels is not None]
        if len(pixels) < len(images):
            raise ValueError("an image without pixels, which another engine prepared")
        try:
            return encode_images(self._network, pixels)
        except Exception as fault:
            if not ran_out(fault):
                raise
        # What is kept for later is worth less than what is wanted now.
        self._cache.clear()
        return encode_images(self._network, pixels)


@torch.inference_mode()
def encode_images(
    network: Florence2ForConditionalGeneration, pixels: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """Return the encoded images, [V, D] each, owning their memory; at least one.

    Shapes: pixels [C=3, H, W] float32 each.
    """
    at_once = _images_at_once(network.device, pixels)
    features: list[torch.Tensor] = []
    for first in range(0, len(pixels), at_once):
        batch = torch.stack(list(pixels[first : first + at_once]))  # [B, C, H, W]
        batch = batch.to(network.device, network.dtype)
        found = network.get_image_features(batch).pooler_output  # [B, V, D]
        features += [row.clone() for row in found]
    return features


def _images_at_once(device: torch.device, pixels: Sequence[torch.Tensor]) -> int:
    if device.type != "cpu":
        return len(pixels)
    _, height, width = pixels[0].shape
    return max(1, _CPU_PIXELS_AT_ONCE // (height * width))
