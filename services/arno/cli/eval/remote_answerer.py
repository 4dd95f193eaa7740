"""Answer the questions of an evaluation by a running Arno."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from PIL import Image

from arno.client import Client, InferResult, Lane, TaskRequest
from arno.client.bounded import as_they_end, patiently
from arno.errors import ArnoError, ModelError, QuotaExceededError, UnavailableError
from arno.training.evaluation.answering import DecodingChoice, JudgedModel, Reply
from arno.training.evaluation.questions import Question
from arno.vocabulary import Task

_TASKS_MAX: Final = 32
"""Questions of one request: half of what a gateway takes; the worker keeps the encoded image."""
_PATIENCE_S: Final = 60.0
"""How long a server may be away or full, or a quota used up, before the run stops."""
_WAITED_FOR: Final = (UnavailableError, QuotaExceededError)


class RemoteAnswerer:
    """An `Answerer` over a gateway: a request an image, some at a time."""

    def __init__(
        self,
        client: Client,
        choice: DecodingChoice,
        *,
        parallel: int,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """Take a client, how to decode, how many requests may be open, and when to give up."""
        self._client = client
        self._patience_s = patience_s
        self._choice = choice
        self._parallel = parallel
        self._model: JudgedModel | None = None

    @property
    def model(self) -> JudgedModel:
        """The model behind the gateway, asked about a grey picture.

        Raises:
            ArnoError: The gateway does not answer.
        """
        if self._model is None:
            picture = Image.new("RGB", (64, 64), "grey")
            probe = TaskRequest(Task.CAPTION, num_beams=1, max_new_tokens=8)
            self._model = self._model_of(self._client.infer(picture, probe))
        return self._model

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Yield a reply to every question, in the order of the server's answers."""
        pool = ThreadPoolExecutor(self._parallel, "ask")
        try:
            for replies in as_they_end(pool, self._parallel, self._ask_part, _parts(questions)):
                yield from replies
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask_part(self, questions: Sequence[Question]) -> list[Reply]:
        """Ask about one image.

        Raises:
            UnavailableError: The server was away or full for too long.
            QuotaExceededError: The quota was used up for too long.
            ModelError: Another model answers than before.
        """
        requests = [self._request(number, one) for number, one in enumerate(questions)]
        try:
            result = self._infer(questions[0].picture(), requests)
        except _WAITED_FOR:
            raise
        except ArnoError as error:
            return [Reply(question.question_id, error) for question in questions]
        if result.model is not None and self._model_of(result) != self.model:
            raise ModelError(
                f"model: {self.model.where} answers with another model than before: "
                f"{result.model.name} {result.model.fingerprint[:12]}"
            )
        # By position: questions have no inputs from one another, so each has exactly one result.
        return [
            Reply(question.question_id, outcome.outcome)
            for question, outcome in zip(questions, result, strict=True)
        ]

    def _infer(self, picture: bytes, requests: Sequence[TaskRequest]) -> InferResult:
        return patiently(
            lambda: self._client.infer(picture, *requests, lane=Lane.BATCH),
            passing=_WAITED_FOR,
            patience_s=self._patience_s,
            pause=lambda _, delay_s: time.sleep(delay_s),
        )

    def _request(self, number: int, question: Question) -> TaskRequest:
        spec = question.spec
        return TaskRequest(
            spec.task,
            id=f"question-{number}",
            text=spec.text,
            classes=spec.classes,
            region=spec.region,
            num_beams=self._choice.num_beams,
            max_new_tokens=self._choice.max_new_tokens,
        )

    def _model_of(self, result: InferResult) -> JudgedModel:
        if result.model is None:
            # Without a model there is no answer; the first task has the reason.
            raise result[0].error or ModelError("model: the server does not say which it runs")
        model = result.model
        return JudgedModel(model.name, model.fingerprint, model.dtype, self._client.address)


def _parts(questions: Sequence[Question]) -> Iterator[tuple[Question, ...]]:
    """Yield the questions image by image, no more at a time than a request takes."""
    for _, group in itertools.groupby(questions, key=lambda question: question.image_id):
        while part := tuple(itertools.islice(group, _TASKS_MAX)):
            yield part
