"""The engine's device: its memory, and whether it still works."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from arno.ops.freed_memory import give_freed_memory_back, keep_freed_memory
from arno.ops.process_limits import available_bytes

_ONE_BY_ONE_MAX: Final = 3

_GPU_PART = 0.8
_HOST_PART = 0.25
_OUT_OF_MEMORY: Final = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Allocators outside torch's own report a lack of memory by these words only."""

_DRIVERS: Final = {12: 525, 13: 580}
"""The oldest driver of NVIDIA for Linux that each major version of CUDA runs with."""

_DRIVER_FILE: Final = Path("/proc/driver/nvidia/version")


class DeviceLostError(Exception):
    """The GPU can do no more work in this process, which has to end.

    No sequence is to blame: whatever ran or runs next fails.
    """


def cache_bytes(asked: int, device: torch.device) -> int:
    """Return the most bytes of the decoding caches; 0 asks for a part of the free memory."""
    if asked:
        return asked
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _GPU_PART)
    return int(available_bytes() * _HOST_PART)


def use_device(device: torch.device) -> None:
    """Make a GPU the current one of this thread, on which graphs are recorded."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def upload(values: Any, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return numbers of the host on the device, without waiting for it.

    A GPU's copy from memory that is not pinned waits for all that was launched before.

    Args:
        values: A tensor, or lists of numbers.
        device: Where they go.
        dtype: Their format; by default that of the numbers.
    """
    here = torch.as_tensor(values, dtype=dtype)
    if device.type == "cuda":
        here = here.pin_memory()
    return here.to(device, non_blocking=True)


def moves(
    sources: list[int], targets: list[int], device: torch.device
) -> Iterator[tuple[Any, Any]]:
    """Yield indices of rows to copy and of where they go: few rows one by one, many at once.

    To copy a row of a tensor is one operation; to copy several is two, and their indices go to the
    device first.
    """
    if len(sources) <= _ONE_BY_ONE_MAX:
        yield from zip(sources, targets, strict=True)
    else:
        yield upload(sources, device), upload(targets, device)


def clear_frames(fault: BaseException) -> None:
    """Free the local variables of the calls that raised, which the traceback keeps alive."""
    traceback.clear_frames(fault.__traceback__)


def out_of_memory(fault: BaseException) -> bool:
    """Return whether an exception means that the device or the host has no memory left."""
    if isinstance(fault, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(fault, RuntimeError) and any(words in str(fault) for words in _OUT_OF_MEMORY)


def require_device(fault: Exception) -> None:
    """Return if the device still works after a failure.

    An illegal access, a failed assertion or a hardware error leaves a CUDA context that answers
    every later call with the same error; a wrong argument or a lack of memory does not.

    Raises:
        DeviceLostError: It does not.
    """
    if isinstance(fault, DeviceLostError):
        raise fault
    if not _on_gpu():
        return
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        raise DeviceLostError(f"the GPU is lost to this process: {error}") from fault


def use_threads(count: int, device: torch.device) -> None:
    """Set the number of threads of a product; on a CPU, also keep the memory that products free."""
    torch.set_num_threads(count)
    if device.type == "cpu":
        keep_freed_memory()


def release_memory() -> None:
    """Give memory that is kept for later allocations back to the device, before a retry."""
    if _on_gpu():
        torch.cuda.empty_cache()
    else:
        give_freed_memory_back()


def free_network(network: nn.Module) -> None:
    """Give the memory of a model's weights back; it cannot be used any more."""
    network.to("meta")
    release_memory()


def _on_gpu() -> bool:
    initialized: Any = torch.cuda.is_initialized
    return bool(initialized())


def why_no_gpu() -> str:
    """Return, for a machine on which torch uses no GPU, what is missing or too old."""
    cuda = torch.version.cuda
    if cuda is None:
        return "this torch is one for CPUs; the image arno/worker-cuda has one for GPUs"
    needed = _DRIVERS.get(int(cuda.partition(".")[0]), max(_DRIVERS.values()))
    asked = f"CUDA {cuda} needs NVIDIA's driver {needed} or newer"
    try:
        found = re.search(r"\b(\d+)\.\d+", _DRIVER_FILE.read_text())
    except OSError:
        return f"{asked}, and there is none; a container must be given a GPU"
    if found is not None and int(found[1]) < needed:
        return f"{asked}, and this is {found[0]}"
    return "the driver is there; is a GPU given to this container (nvidia-smi lists them)?"
