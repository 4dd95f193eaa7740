"""Encode images, each once, and keep what they were encoded to for further tasks on them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

import torch
from transformers import Florence2ForConditionalGeneration

from arno.engine.bisect import run_bisecting
from arno.engine.device import out_of_memory, release_memory
from arno.engine.encoding.image_preparation import Normaliser
from arno.engine.interface import PreparedImage
from arno.engine.stopwatch import Stopwatch

_CPU_PIXELS_AT_ONCE: Final = 2 * 768 * 768
"""More pixels in one pass are slower on a CPU: of the base model's images, two take 2.6 s each on
two cores, and four 3.7 s each, because activations between layers are then tens of megabytes."""


@dataclass(frozen=True, slots=True)
class EncodedImages:
    """The images of a group after encoding, by their SHA-256.

    Attributes:
        features: Encoded images, [V, D] each.
        faults: What was raised for images that could not be encoded.
        fresh: Images that went through the vision encoder now, not found in the cache.
        watch: Measures how long encoding them took; None where none was fresh.
        failed_batch_count: Batches that failed and were split.
    """

    features: dict[str, torch.Tensor]
    faults: dict[str, Exception]
    fresh: frozenset[str]
    watch: Stopwatch | None
    failed_batch_count: int


class EncodedCache:
    """Encoded images by content, the least recently used dropped first. Any thread.

    A dropped image is still found while a sequence uses it.
    """

    def __init__(self, bytes_max: int) -> None:
        """Start empty.

        Args:
            bytes_max: Most memory of all that is kept; 0 keeps nothing.
        """
        self._bytes_max = bytes_max
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._in_use: WeakValueDictionary[str, torch.Tensor] = WeakValueDictionary()
        self._size_bytes = 0
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """Memory in use."""
        return self._size_bytes

    def __contains__(self, sha256: str) -> bool:
        """Return whether an image is here; does not count as a use of it."""
        return sha256 in self._in_use

    def get(self, sha256: str) -> torch.Tensor | None:
        """Return an encoded image, [V, D]; None where it is not here."""
        with self._lock:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
            return self._in_use.get(sha256)

    def put(self, sha256: str, features: torch.Tensor) -> None:
        """Keep an encoded image, [V, D], unless it alone is larger than the limit.

        The tensor must own its memory.
        """
        with self._lock:
            self._in_use[sha256] = features
            if features.nbytes > self._bytes_max or sha256 in self._kept:
                return
            self._kept[sha256] = features
            self._size_bytes += features.nbytes
            while self._size_bytes > self._bytes_max:
                _, dropped = self._kept.popitem(last=False)
                self._size_bytes -= dropped.nbytes

    def clear(self) -> None:
        """Drop all images that no sequence uses."""
        with self._lock:
            self._kept.clear()
            self._size_bytes = 0


class ImageEncoding:
    """The vision encoder and its cache. One thread, but for `features_of`."""

    def __init__(
        self,
        network: Florence2ForConditionalGeneration,
        normalise: Normaliser,
        cache_bytes: int,
    ) -> None:
        """Start with nothing encoded.

        Args:
            network: The model.
            normalise: What it does to pixels.
            cache_bytes: Most bytes of encoded images to keep.
        """
        self._network = network
        self._normalise = normalise
        self._group_sizes: Sequence[int] = ()
        self._cache = EncodedCache(cache_bytes)

    def fill_up_to(self, group_sizes: Sequence[int]) -> None:
        """Encode these numbers of images at once only from now on; see `encode_images`."""
        self._group_sizes = group_sizes

    def keeps(self, sha256: str) -> bool:
        """Return whether an image is encoded already."""
        return sha256 in self._cache

    def features_of(self, sha256: str) -> torch.Tensor | None:
        """Return what an image is encoded to, [V, D]; None where it is not. Any thread."""
        return self._cache.get(sha256)

    def encode(self, images: Sequence[PreparedImage]) -> EncodedImages:
        """Encode every image that is not kept; duplicates are encoded once."""
        # One that comes with features may have been dropped since.
        features = {each.sha256: each.features for each in images if each.features is not None}
        by_digest = {image.sha256: image for image in images}
        for digest in by_digest:
            found = self._cache.get(digest)
            if found is not None:
                features[digest] = found
        missing = [image for digest, image in by_digest.items() if digest not in features]
        if not missing:
            return EncodedImages(features, {}, frozenset(), None, 0)
        watch = Stopwatch(self._network.device)
        encoded = run_bisecting(missing, self._run)
        watch.stop()
        for survivor in encoded.survivors:
            features[survivor.member.sha256] = survivor.outcome
            self._cache.put(survivor.member.sha256, survivor.outcome)
        return EncodedImages(
            features=features,
            faults={casualty.member.sha256: casualty.fault for casualty in encoded.casualties},
            fresh=frozenset(survivor.member.sha256 for survivor in encoded.survivors),
            watch=watch,
            failed_batch_count=encoded.failed_batch_count,
        )

    def _run(self, images: Sequence[PreparedImage]) -> list[torch.Tensor]:
        pixels = [image.pixels for image in images if image.pixels is not None]
        if len(pixels) < len(images):
            raise ValueError("an image without pixels, which another engine prepared")
        try:
            return encode_images(self._network, self._normalise, pixels, self._group_sizes)
        except Exception as fault:
            if not out_of_memory(fault):
                raise
        # Images kept for later are worth less than those needed now.
        self._cache.clear()
        release_memory()
        return encode_images(self._network, self._normalise, pixels, self._group_sizes)


@torch.inference_mode()
def encode_images(
    network: Florence2ForConditionalGeneration,
    normalise: Normaliser,
    pixels: Sequence[torch.Tensor],
    group_sizes: Sequence[int] = (),
) -> list[torch.Tensor]:
    """Encode at least one image; return [V, D] each, owning their memory.

    Args:
        network: The model.
        normalise: What it does to pixels.
        pixels: [C=3, H, W] uint8 each.
        group_sizes: Numbers of images that the encoder takes at once, in rising order; blank images
            make up the number. None leaves the number free.
    """
    at_once = group_sizes[-1] if group_sizes else _images_at_once(network.device, pixels)
    features: list[torch.Tensor] = []
    for first in range(0, len(pixels), at_once):
        batch = list(pixels[first : first + at_once])
        count = len(batch)
        size = next((size for size in group_sizes if size >= count), count)
        batch += [torch.zeros_like(batch[0])] * (size - count)
        levels = torch.stack(batch).to(network.device)  # [B, C, H, W]
        values = normalise(levels).to(network.dtype)
        found = network.get_image_features(values).pooler_output  # [B, V, D]
        features += [row.clone() for row in found[:count]]
    return features


def _images_at_once(device: torch.device, pixels: Sequence[torch.Tensor]) -> int:
    if device.type != "cpu":
        return len(pixels)
    _, height, width = pixels[0].shape
    return max(1, _CPU_PIXELS_AT_ONCE // (height * width))
