"""Which errors mean a lack of memory, and which that the GPU is lost; without a GPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from arno.engine.device import DeviceLostError, out_of_memory, require_device  # noqa: E402


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate"),
    ],
)
def test_a_lack_of_memory_is_known_by_any_of_its_names(fault):
    assert out_of_memory(fault)


@pytest.mark.parametrize(
    "fault",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("The size of tensor a must match"),
        ValueError("CUDA error: out of memory"),
    ],
)
def test_other_errors_are_no_lack_of_memory(fault):
    assert not out_of_memory(fault)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that answers each wait with the next of these errors, or well."""
    answers: list[Exception] = []

    def synchronize() -> None:
        if answers:
            raise answers[0]

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    return answers


def test_a_failure_on_a_gpu_that_still_works_is_the_callers(gpu):
    require_device(RuntimeError("CUDA error: invalid configuration argument"))


def test_a_gpu_that_fails_again_when_waited_for_is_lost(gpu):
    fault = torch.AcceleratorError("CUDA error: device-side assert triggered")
    gpu.append(fault)
    with pytest.raises(DeviceLostError, match="device-side assert") as raised:
        require_device(RuntimeError("whatever failed first"))
    assert str(raised.value.__cause__) == "whatever failed first"


def test_a_lost_gpu_stays_lost_on_its_way_up():
    with pytest.raises(DeviceLostError, match="once"):
        require_device(DeviceLostError("once"))


def test_without_a_gpu_every_failure_is_the_callers():
    require_device(RuntimeError("no GPU is in use"))
