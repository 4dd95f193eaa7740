"""Where and when images are encoded: at once or on a thread beside decoding; pixels sent ahead."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from arno.engine.encoding.image_encoding import EncodedImages, ImageEncoding
from arno.engine.interface import PreparedImage
from arno.engine.settings import EngineSettings
from arno.errors import ModelError
from arno.ops.process_limits import available_cpus


class ImageStage:
    """Encodes one group of images at a time: `begin`, then `take`. The engine's thread only.

    A thread of its own pays where the model's threads leave processors free. Where they do not, two
    passes at once only wait for each other at every product.
    """

    def __init__(self, images: ImageEncoding, *, overlap: bool) -> None:
        """Take the vision encoder, and whether it gets a thread of its own."""
        self._images = images
        self._group: Future[EncodedImages] | None = None
        self._thread = _one_thread() if overlap else None

    @property
    def overlaps(self) -> bool:
        """Whether `begin` returns at once."""
        return self._thread is not None

    @property
    def busy(self) -> bool:
        """Whether a group has begun and is not taken."""
        return self._group is not None

    def fill_up_to(self, group_sizes: Sequence[int]) -> None:
        """Encode these numbers of images only from now on; see `encode_images`."""
        self._images.fill_up_to(group_sizes)

    def keeps(self, sha256: str) -> bool:
        """Return whether an image is encoded already."""
        return self._images.keeps(sha256)

    def begin(self, images: Sequence[PreparedImage]) -> None:
        """Start to encode a group; the group before it has been taken."""
        if self._thread is not None:
            self._group = self._thread.submit(self._images.encode, images)
            return
        self._group = Future()
        self._group.set_result(self._images.encode(images))

    def take(self, *, wait: bool) -> EncodedImages | None:
        """Return the encoded group; None where there is none, or it is not done.

        Args:
            wait: Return only when it is done.
        """
        if self._group is None or not (wait or self._group.done()):
            return None
        images = self._group.result()
        self._group = None
        return images

    def close(self) -> None:
        """End the thread, after the group that it may be encoding."""
        if self._thread is not None:
            self._thread.shutdown()


class Uploads:
    """Copies pixels to a GPU from pinned memory, while it computes. On a CPU it does nothing.

    `pin` is for the threads that prepare images, the rest for the engine's thread.
    """

    def __init__(self, device: torch.device) -> None:
        """Take the device that pixels are sent to."""
        self._device = device
        make: Any = torch.cuda.Stream
        self._stream = make(device) if device.type == "cuda" else None

    def pin(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels in memory that the GPU can read by itself. Any thread."""
        return pixels if self._stream is None else pixels.pin_memory()

    def send(self, image: PreparedImage) -> PreparedImage:
        """Start to copy an image's pixels, and return the image with the copy; do not wait."""
        if self._stream is None or image.pixels is None:
            return image
        with torch.cuda.stream(self._stream):
            pixels = image.pixels.to(self._device, non_blocking=True)
        # Their memory must not be given to later pixels while these are still being read.
        pixels.record_stream(torch.cuda.current_stream(self._device))
        return dataclasses.replace(image, pixels=pixels)

    def wait(self) -> None:
        """Make the device, not the host, wait for all pixels that were sent."""
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)


def overlaps(settings: EngineSettings, device: torch.device) -> bool:
    """Return whether images are encoded beside decoding: by default where a processor is free.

    Raises:
        ModelError: It is asked for on a GPU, where both would queue on one stream.
    """
    if device.type == "cuda" and settings.encode_overlap == "on":
        raise ModelError("encode_overlap: on is for CPUs; leave it at auto on a GPU")
    if settings.encode_overlap == "auto":
        return device.type == "cpu" and torch.get_num_threads() < available_cpus()
    return settings.encode_overlap == "on"


def _one_thread() -> ThreadPoolExecutor:
    """Return a thread that multiplies with as many threads as this one does."""
    return ThreadPoolExecutor(
        1, "encode-images", initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)
    )
