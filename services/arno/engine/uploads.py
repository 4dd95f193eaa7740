"""Send pixels to the device while it computes something else."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from arno.engine.interface import PreparedImage


class Uploads:
    """Copies from pinned memory, on a stream of its own. On a CPU there is nothing to send."""

    def __init__(self, device: torch.device) -> None:
        """Take where to."""
        self._device = device
        make: Any = torch.cuda.Stream
        self._stream = make(device) if device.type == "cuda" else None

    def send(self, image: PreparedImage) -> PreparedImage:
        """Start to copy an image's pixels, and return it with those; waits for nothing."""
        if self._stream is None or image.pixels is None:
            return image
        with torch.cuda.stream(self._stream):
            pixels = image.pixels.pin_memory().to(self._device, non_blocking=True)
        # Their memory must not be given to the next ones while these are still being read.
        pixels.record_stream(torch.cuda.current_stream(self._device))
        return dataclasses.replace(image, pixels=pixels)

    def wait(self) -> None:
        """Have the device, not the host, wait for all that was sent."""
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
