"""How much memory there is for caches, and what running out of it looks like."""

from __future__ import annotations

import traceback

import torch

from arno.ops.memory import available_bytes

_GPU_PART = 0.8
_HOST_PART = 0.25


def cache_bytes(asked: int, device: torch.device) -> int:
    """Return how many bytes the decoding caches may take; 0 asks for a part of what is free."""
    if asked:
        return asked
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _GPU_PART)
    return int(available_bytes() * _HOST_PART)


def let_go(fault: BaseException) -> None:
    """Forget what the calls that raised a fault computed: its traceback would keep that alive."""
    traceback.clear_frames(fault.__traceback__)


def ran_out(fault: BaseException) -> bool:
    """Return whether a fault is the device's, or the host's, want of memory."""
    if isinstance(fault, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(fault, RuntimeError) and "DefaultCPUAllocator" in str(fault)
