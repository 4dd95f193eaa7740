"""Arno's engine as its worker runs it: prepare threads, and the loop that owns the engine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from arno.engine import (
    DecodingOptions,
    EngineSettings,
    SequenceFinished,
    SequenceProgress,
    SequenceRequest,
    create_engine,
)
from arno.engine.engine_loop import EngineLoop
from arno.vocabulary import Task, expected_tokens

from benchmarks.ask import Ask, Serving
from benchmarks.engines.host import Reply

_PREPARE_THREADS = 2


class ArnoAnswerer:
    """Takes asks into the engine and hands its answers back."""

    def __init__(self, serving: Serving, reply: Reply) -> None:
        """Load the model, warm it up and start the loop."""
        settings = EngineSettings.model_validate(
            {
                "model": serving.model,
                "device": serving.device,
                "dtype": serving.dtype,
                "batch_sequences_max": serving.sequences_max,
                "allow_untrained": True,
            }
        )
        self._reply = reply
        self._engine = create_engine(settings)
        self._engine.warm_up()
        self._loop = EngineLoop(self._engine, on_events=self._tell)
        self._prepare = ThreadPoolExecutor(_PREPARE_THREADS)
        threading.Thread(target=self._loop.run, daemon=True).start()

    def put(self, ask: Ask) -> None:
        """Take an ask."""
        self._prepare.submit(self._submit, ask)

    def _submit(self, ask: Ask) -> None:
        try:
            request = SequenceRequest(
                sequence_id=str(ask.ask_id),
                image=self._engine.prepare(ask.image),
                prompt=ask.prompt,
                options=DecodingOptions(
                    num_beams=ask.num_beams,
                    max_new_tokens=ask.token_limit,
                    no_repeat_ngram_size=ask.no_repeat_ngram_size,
                ),
                deadline_s=None,
                lane="interactive",
                tenant="benchmark",
                expected_token_count=expected_tokens(Task(ask.task)),
            )
        except Exception as fault:  # noqa: BLE001 - the caller is told
            self._reply(ask.ask_id, (), repr(fault))
            return
        self._loop.submit([request])

    def _tell(self, events: Sequence[SequenceProgress | SequenceFinished]) -> None:
        for event in events:
            if isinstance(event, SequenceFinished):
                fault = repr(event.error) if event.error else ""
                self._reply(int(event.sequence_id), event.token_ids, fault)
