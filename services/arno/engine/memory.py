"""Memory for the decoding caches, and errors that mean that memory ran out."""

from __future__ import annotations

import traceback

import torch

from arno.ops.memory import available_bytes

_GPU_PART = 0.8
_HOST_PART = 0.25


def cache_bytes(asked: int, device: torch.device) -> int:
    """Return the most bytes of the decoding caches; 0 asks for a part of the free memory."""
    if asked:
        return asked
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _GPU_PART)
    return int(available_bytes() * _HOST_PART)


def clear_frames(fault: BaseException) -> None:
    """Free the local variables of the calls that raised, which the traceback keeps alive."""
    traceback.clear_frames(fault.__traceback__)


def out_of_memory(fault: BaseException) -> bool:
    """Return whether an exception means that the device or the host has no memory left."""
    if isinstance(fault, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(fault, RuntimeError) and "DefaultCPUAllocator" in str(fault)
