"""Run work over the parts of a data set: in this process, in several, or on Ray Data.

In all of them the results come in the order of the parts, and the process that asked writes: what
is written is byte for byte the same, whatever the number of processes and machines. Workers read
the shards themselves; on a cluster, the folders have to be under one path on all machines.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from arno.dataset import Dataset, ImageRecord
from arno.errors import ArnoError, MissingExtraError

ItemT = TypeVar("ItemT")
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)

BLOCK_RECORDS: Final = 512
_AHEAD: Final = 2
"""Parts that each process has on its way: one is worked on while the next waits."""
_QUIET: Final = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}


class EngineName(StrEnum):
    """Where the parts of a data set are worked on."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class Workers:
    """What works on the parts of a data set.

    Attributes:
        engine: This machine, or a Ray cluster.
        processes: Of this machine; with 1, the process that asks does the work. Ray takes as many
            as its cluster has cores.
    """

    engine: EngineName = EngineName.LOCAL
    processes: int = 1


ONE_PROCESS: Final = Workers()


class Work(Protocol[ItemT_contra, ResultT_co]):
    """What is done with each part. Can be pickled."""

    def open(self) -> AbstractContextManager[Callable[[ItemT_contra], ResultT_co]]:
        """Return what does it, made once in each process."""


@dataclass(frozen=True, slots=True)
class _Read(Generic[ResultT]):
    """Work on records that reads them by their numbers: for a process that has none at hand.

    Attributes:
        folder: The data set.
        work: What is done with its records.
    """

    folder: Path
    work: Work[list[ImageRecord], ResultT]

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[range], ResultT]]:
        """Yield what reads the records of some numbers and works on them."""
        dataset = Dataset(self.folder)
        with self.work.open() as run:
            yield lambda numbers: run([dataset[number] for number in numbers])


def over_records(
    work: Work[list[ImageRecord], ResultT], source: Dataset, workers: Workers
) -> Iterator[ResultT]:
    """Yield what comes of the records of a data set, block by block in their order.

    Raises:
        MissingExtraError: Ray is asked for, and not installed.
        ArnoError: The work raised it.
    """
    if workers == ONE_PROCESS:
        yield from over_items(work, source.batches(BLOCK_RECORDS), workers)
        return
    starts = range(0, len(source), BLOCK_RECORDS)
    blocks = [range(at, min(at + BLOCK_RECORDS, len(source))) for at in starts]
    yield from over_items(_Read(source.folder.resolve(), work), blocks, workers)


def over_items(
    work: Work[ItemT, ResultT], items: Iterable[ItemT], workers: Workers
) -> Iterator[ResultT]:
    """Yield what comes of each item, in their order.

    Raises:
        MissingExtraError: Ray is asked for, and not installed.
        ArnoError: The work raised it.
    """
    if workers.engine is EngineName.RAY:
        yield from _on_ray(work, list(items))
    elif workers.processes > 1:
        yield from _in_processes(work, items, workers.processes)
    else:
        with work.open() as run:
            yield from map(run, items)


def _in_processes(
    work: Work[ItemT, ResultT], items: Iterable[ItemT], processes: int
) -> Iterator[ResultT]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin_worker, (pickle.dumps(work),)) as pool:
        under_way: deque[Future[Any]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(_work_on, item))
                if len(under_way) == processes * _AHEAD:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


class _Opened:
    """Work that is opened when its first item comes, so that its errors are those of an item."""

    def __init__(self, work: bytes) -> None:
        self._work: Work[Any, Any] = pickle.loads(work)  # noqa: S301 - written by who asks
        self._stack = contextlib.ExitStack()
        self._run: Callable[[Any], Any] | None = None

    def __call__(self, item: Any) -> Any:
        if self._run is None:
            self._run = self._stack.enter_context(self._work.open())
        return self._run(item)


_opened: _Opened | None = None
"""Of a process that `_begin_worker` has begun."""


def _begin_worker(work: bytes) -> None:
    global _opened  # noqa: PLW0603 - a pool has no other place for what its processes keep
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _opened = _Opened(work)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)  # it was killed, and a pool's process would wait for its work for ever


def _work_on(item: Any) -> Any:
    assert _opened is not None  # noqa: S101 - the pool has begun each of its processes
    return _opened(item)


def _on_ray(work: Work[ItemT, ResultT], items: Sequence[ItemT]) -> Iterator[ResultT]:
    """Yield what comes of each item, in order, worked on by the nodes of a Ray cluster.

    It is the cluster of `RAY_ADDRESS`, or one of this machine that ends with the iteration.
    """
    if not items:
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as fault:
        raise MissingExtraError(
            f"--engine ray needs {fault.name}: pip install 'arno[ray]'", extra="ray"
        ) from fault
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        workers = max(1, min(len(items), int(ray.cluster_resources().get("CPU", 1))))
        # A part a row and a row a block: each is some hundreds of records already.
        rows = ray.data.from_items(
            [{"item": pickle.dumps(item)} for item in items], override_num_blocks=len(items)
        )
        done = rows.map(
            _RayWorker,
            fn_constructor_args=(pickle.dumps(work),),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
        )
        for row in done.iter_rows():
            result = pickle.loads(row["result"])  # noqa: S301 - written by our own workers
            if isinstance(result, ArnoError):
                raise result
            yield result
    finally:
        if started:
            ray.shutdown()


class _RayWorker:
    """Does the work in a process of Ray."""

    def __init__(self, work: bytes) -> None:
        self._opened = _Opened(work)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        item = pickle.loads(row["item"])  # noqa: S301 - written by the process that asks
        try:
            result = self._opened(item)
        except ArnoError as error:  # Ray would wrap it, and try the item again
            result = error
        return {"result": pickle.dumps(result)}
