"""Keep encoded images, so that further tasks on an image skip the vision encoder."""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakValueDictionary

import torch


class EncodedCache:
    """Encoded images by content, the least recently used dropped first. One thread.

    What was dropped, but is in somebody's hands, is found for as long as it is.
    """

    def __init__(self, bytes_max: int) -> None:
        """Start empty.

        Args:
            bytes_max: Memory of all that is kept; 0 keeps nothing.
        """
        self._bytes_max = bytes_max
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._in_use: WeakValueDictionary[str, torch.Tensor] = WeakValueDictionary()
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Memory in use."""
        return self._size_bytes

    def __contains__(self, sha256: str) -> bool:
        """Return whether an image is here, which is no use of it."""
        return sha256 in self._in_use

    def get(self, sha256: str) -> torch.Tensor | None:
        """Return what an image was encoded to: [V, D]. None where it is not here."""
        if sha256 in self._kept:
            self._kept.move_to_end(sha256)
        return self._in_use.get(sha256)

    def put(self, sha256: str, features: torch.Tensor) -> None:
        """Keep [V, D] of an image, unless it alone is more than fits. It must own its memory."""
        self._in_use[sha256] = features
        if features.nbytes > self._bytes_max or sha256 in self._kept:
            return
        self._kept[sha256] = features
        self._size_bytes += features.nbytes
        while self._size_bytes > self._bytes_max:
            _, dropped = self._kept.popitem(last=False)
            self._size_bytes -= dropped.nbytes

    def clear(self) -> None:
        """Drop all that nobody uses."""
        self._kept.clear()
        self._size_bytes = 0
