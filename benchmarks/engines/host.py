"""The child process of an engine that is asked through a pipe."""

from __future__ import annotations

import queue
import threading
import traceback
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from benchmarks.ask import Answerer, Ask, Reply, Serving

if TYPE_CHECKING:
    from benchmarks.engines.florence import Florence


class StaticBatches:
    """Answers what has arrived in batches, once the first ask of a batch has waited a little."""

    _WAIT_S = 0.01

    def __init__(self, florence: Florence, reply: Reply, *, batch_max: int) -> None:
        """Take a loaded model."""
        self._florence = florence
        self._reply = reply
        self._batch_max = batch_max
        self._queue: queue.SimpleQueue[Ask] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def put(self, ask: Ask) -> None:
        """Take an ask."""
        self._queue.put(ask)

    def _serve(self) -> None:
        while True:
            batch = self._gather()
            try:
                answers = self._florence.answer(batch)
            except Exception:  # noqa: BLE001 - the reply carries it
                for ask in batch:
                    self._reply(ask.ask_id, (), traceback.format_exc(limit=1))
                continue
            for ask, answer in zip(batch, answers, strict=True):
                self._reply(ask.ask_id, answer, "")

    def _gather(self) -> list[Ask]:
        batch = [self._queue.get()]
        while len(batch) < self._batch_max:
            try:
                batch.append(self._queue.get(timeout=self._WAIT_S))
            except queue.Empty:
                break
        return batch


def host(name: str, serving: Serving, pipe: Connection) -> None:
    """Answer asks from a pipe until it closes; the first reply tells that the model is loaded."""
    lock = threading.Lock()

    def reply(ask_id: int, answer: tuple[int, ...], error: str) -> None:
        with lock:
            pipe.send((ask_id, answer, error))

    try:
        answerer = _answerer(name, serving, reply)
    except Exception:  # noqa: BLE001 - the reply carries it
        reply(-1, (), traceback.format_exc(limit=3))
        return
    reply(-1, (), "")
    while True:
        try:
            answerer.put(pipe.recv())
        except EOFError:
            return


def _answerer(name: str, serving: Serving, reply: Reply) -> Answerer:
    if name.startswith("arno"):
        from benchmarks.engines.arno_engine import ArnoAnswerer

        return ArnoAnswerer(serving, reply)
    if name == "onnxruntime":
        from benchmarks.engines.onnx_florence import OnnxFlorence

        return StaticBatches(OnnxFlorence(serving), reply, batch_max=1)
    from benchmarks.engines.florence import Florence

    batch_max = 1 if name == "transformers" else serving.batch_max
    return StaticBatches(Florence(serving), reply, batch_max=batch_max)
