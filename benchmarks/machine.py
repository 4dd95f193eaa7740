"""Say on what a result was measured, without names of hosts, users or folders."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from arno.ops.processor import read_processor

_ROOT = Path(__file__).resolve().parent.parent
_LIBRARIES = ("torch", "transformers", "onnxruntime", "litserve", "mosec", "ray")


def describe(device: str) -> dict[str, Any]:
    """Return machine, commit, load and versions of this moment."""
    processor = read_processor()
    return {
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "processor": processor.model,
        "instructions": processor.instructions,
        "core_count": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "device": _device(device),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "libraries": {name: version for name in _LIBRARIES if (version := _version(name))},
    }


def commit() -> str:
    """Return the commit of this checkout, with a plus where tracked files differ from it."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "services")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + "+" * bool(changed)


@dataclass(frozen=True, slots=True)
class BusyTime:
    """Processor seconds since the machine, or a process, started.

    Attributes:
        machine_s: Of all processes.
        own_s: Of this process and the given ones with all their children.
    """

    machine_s: float
    own_s: float

    @classmethod
    def now(cls, pids: tuple[int, ...] = ()) -> BusyTime:
        """Read the counters."""
        times = psutil.cpu_times()
        idle_s = times.idle + getattr(times, "iowait", 0.0)
        guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        return cls(sum(times) - idle_s - guests_s, busy_s(os.getpid(), *pids))

    def others_cores(self, later: BusyTime, elapsed_s: float) -> float:
        """Return how many cores all other processes kept busy until a later moment."""
        others_s = (later.machine_s - self.machine_s) - (later.own_s - self.own_s)
        return round(max(0.0, others_s / elapsed_s), 2)


def tree(*pids: int) -> list[psutil.Process]:
    """Return processes with all their children, each once."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        try:
            process = psutil.Process(pid)
            for each in (process, *process.children(recursive=True)):
                found[each.pid] = each
        except psutil.NoSuchProcess:
            continue
    return list(found.values())


def busy_s(*pids: int) -> float:
    """Return the processor time of processes with all their children."""
    return sum(_busy_s(process) for process in tree(*pids))


def _busy_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=_ROOT, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    driver = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return f"{torch.cuda.get_device_name(device)}, driver {driver}, CUDA {torch.version.cuda}"
