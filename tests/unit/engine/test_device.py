"""Which errors mean a lack of memory, and which that the GPU is lost; without a GPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from arno.engine import device  # noqa: E402
from arno.engine.device import (  # noqa: E402
    DeviceLostError,
    moves,
    out_of_memory,
    require_device,
    upload,
    why_no_gpu,
)


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


def test_numbers_are_sent_to_a_gpu_from_pinned_memory_without_a_wait(monkeypatch):
    done = []

    def pin(tensor):
        done.append("pinned")
        return tensor

    def to(tensor, where, *, non_blocking):
        done.append((where.type, non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    assert upload([[3, 4]], torch.device("cuda")).tolist() == [[3, 4]]
    assert done == ["pinned", ("cuda", True)]


def test_numbers_of_a_cpu_stay_where_they_are():
    numbers = torch.tensor([1.5])
    assert upload(numbers, torch.device("cpu")) is numbers


@pytest.mark.parametrize(
    ("cuda", "driver", "said"),
    [
        (None, "580.65.06", "one for CPUs"),
        ("13.2", None, "driver 580 or newer, and there is none"),
        ("13.2", "570.124.06", "driver 580 or newer, and this is 570.124"),
        ("12.8", "520.61.05", "driver 525 or newer, and this is 520.61"),
        ("12.8", "570.124.06", "the driver is there"),
        ("15.0", "570.124.06", "driver 580 or newer"),
    ],
)
def test_a_machine_without_a_usable_gpu_says_which_driver_it_needs(
    monkeypatch, tmp_path, cuda, driver, said
):
    file = tmp_path / "version"
    if driver is not None:
        file.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Tue 2025\n")
    monkeypatch.setattr(device, "_DRIVER_FILE", file)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    assert said in why_no_gpu()


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_rows_that_move_are_copied_one_by_one_or_at_once(count):
    rows = torch.arange(20)[:, None].repeat(1, 2)
    sources, targets = list(range(19, 19 - count, -1)), list(range(count))
    for source, target in moves(sources, targets, torch.device("cpu")):
        rows[target] = rows[source]
    assert rows[:, 0].tolist() == [*sources, *range(count, 20)]
    assert torch.equal(rows[:, 0], rows[:, 1])
