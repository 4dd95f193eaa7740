"""Have the images of a group encoded: here and now, or on a thread beside decoding."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from arno.engine.image_encoding import EncodedImages, ImageEncoding
from arno.engine.interface import PreparedImage


class ImageStage:
    """One group at a time: `begin`, then `take`. The engine's thread only.

    Beside decoding pays where the model's threads leave processors free. Where they do not, two
    passes at once only wait for each other at every product.
    """

    def __init__(self, images: ImageEncoding, *, overlap: bool) -> None:
        """Take the vision encoder, and whether it gets a thread of its own."""
        self._images = images
        self._taken: Future[EncodedImages] | None = None
        self._thread = _one_thread() if overlap else None

    @property
    def overlaps(self) -> bool:
        """Whether `begin` returns at once."""
        return self._thread is not None

    @property
    def busy(self) -> bool:
        """Whether a group has begun and is not taken."""
        return self._taken is not None

    def keeps(self, sha256: str) -> bool:
        """Return whether an image is encoded already."""
        return self._images.keeps(sha256)

    def begin(self, images: Sequence[PreparedImage]) -> None:
        """Start with a group; the one before it is taken."""
        if self._thread is not None:
            self._taken = self._thread.submit(self._images.encode, images)
            return
        self._taken = Future()
        self._taken.set_result(self._images.encode(images))

    def take(self, *, wait: bool) -> EncodedImages | None:
        """Return what became of the group; None where there is none, or it is not done.

        Args:
            wait: Return only when it is done.
        """
        if self._taken is None or not (wait or self._taken.done()):
            return None
        images = self._taken.result()
        self._taken = None
        return images

    def close(self) -> None:
        """Let the thread end, after the group that it may be at."""
        if self._thread is not None:
            self._thread.shutdown()


def _one_thread() -> ThreadPoolExecutor:
    """Return a thread that multiplies with as many threads as this one does."""
    return ThreadPoolExecutor(
        1, "encode-images", initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)
    )
