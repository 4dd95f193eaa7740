"""Arno's engine as its worker runs it: threads prepare images, and one owns the engine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from arno.engine import (
    DecodingOptions,
    EngineSettings,
    SequenceFinished,
    SequenceProgress,
    create_engine,
)
from arno.engine.engine_loop import EngineLoop
from arno.engine.sequences.task_sequences import task_request
from arno.vocabulary import Task, TaskSpec

from benchmarks.ask import Ask, Reply, Serving

_PREPARE_THREADS = 2


class ArnoAnswerer:
    """An `Answerer` over an engine of this process."""

    def __init__(self, serving: Serving, reply: Reply) -> None:
        """Load the model, warm it up and start the loop."""
        settings = EngineSettings.model_validate(
            {
                "model": serving.model,
                "device": serving.device,
                "dtype": serving.dtype,
                "batch_sequences_max": serving.sequences_max,
                "vision_compile": "on" if serving.compiled else "off",
                "image_side": serving.image_side,
                "allow_untrained": True,
            }
        )
        self._reply = reply
        self._engine = create_engine(settings)
        self._engine.warm_up()
        self._loop = EngineLoop(self._engine, on_events=self._note)
        self._prepare = ThreadPoolExecutor(_PREPARE_THREADS)
        threading.Thread(target=self._loop.run, daemon=True).start()

    def put(self, ask: Ask) -> None:
        """Take an ask; return at once."""
        self._prepare.submit(self._submit, ask)

    def _submit(self, ask: Ask) -> None:
        options = DecodingOptions(
            num_beams=ask.num_beams,
            max_new_tokens=ask.token_limit,
            no_repeat_ngram_size=ask.no_repeat_ngram_size,
        )
        try:
            image = self._engine.prepare(ask.image)
            spec = TaskSpec(Task(ask.task))  # a workload's prompts are those of its tasks
            request = task_request(str(ask.ask_id), spec, image, options=options)
        except Exception as error:  # noqa: BLE001 - the reply carries it
            self._reply(ask.ask_id, (), repr(error))
            return
        self._loop.submit([request])

    def _note(self, events: Sequence[SequenceProgress | SequenceFinished]) -> None:
        for event in events:
            if isinstance(event, SequenceFinished):
                error = repr(event.error) if event.error else ""
                self._reply(int(event.sequence_id), event.token_ids, error)
