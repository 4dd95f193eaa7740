"""Keep encoded images, so that further tasks on an image skip the vision encoder."""

from __future__ import annotations

from collections import OrderedDict

import torch


class EncodedCache:
    """Encoded images by content, the least recently used dropped first. One thread."""

    def __init__(self, bytes_max: int) -> None:
        """Start empty.

        Args:
            bytes_max: Memory of all that is kept; 0 keeps nothing.
        """
        self._bytes_max = bytes_max
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Memory in use."""
        return self._size_bytes

    def __contains__(self, sha256: str) -> bool:
        """Return whether an image is kept, which is no use of it."""
        return sha256 in self._kept

    def get(self, sha256: str) -> torch.Tensor | None:
        """Return what an image was encoded to: [V, D]. None where it is not kept."""
        features = self._kept.get(sha256)
        if features is not None:
            self._kept.move_to_end(sha256)
        return features

    def put(self, sha256: str, features: torch.Tensor) -> None:
        """Keep [V, D] of an image, unless it alone is more than fits. It must own its memory."""
        if features.nbytes > self._bytes_max or sha256 in self._kept:
            return
        self._kept[sha256] = features
        self._size_bytes += features.nbytes
        while self._size_bytes > self._bytes_max:
            _, dropped = self._kept.popitem(last=False)
            self._size_bytes -= dropped.nbytes
