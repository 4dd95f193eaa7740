"""Answer questions with the engine of this process."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import torch

from arno.engine import EngineSettings, create_engine
from arno.engine.interface import (
    DecodingOptions,
    Engine,
    PreparedImage,
    SequenceFinished,
    SequenceRequest,
)
from arno.errors import ArnoError
from arno.training.evaluation.answering import DecodingChoice, JudgedModel, Reply
from arno.training.evaluation.questions import Question
from arno.vocabulary import Decoded, build_prompt, expected_tokens, parse

_IN_ENGINE_MAX: Final = 512
"""Sequences in the engine at once: it forms its batches from them, and more fit better together."""
_AHEAD: Final = 8
"""Images that are prepared before they are needed."""
_PREPARERS: Final = 2
_LANE: Final = "batch"
_TENANT: Final = "evaluation"


@dataclass(frozen=True, slots=True)
class _Group:
    """The questions of one image, and the image as it becomes ready."""

    questions: tuple[Question, ...]
    image: Future[PreparedImage]


def open_model(name: str, choice: DecodingChoice, *, device: str) -> LocalAnswerer:
    """Load a model and return its answerer, to be closed in the end.

    Args:
        name: ``tiny``, a folder, or a hub id in the local cache.
        choice: How it decodes.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.

    Raises:
        ModelError: The model cannot be found, read or served.
    """
    # A model that is no good yet may be measured too: that is what figures are for.
    settings = {"model": name, "device": device, "allow_untrained": True}
    engine = create_engine(EngineSettings.model_validate(settings))
    engine.warm_up()
    return LocalAnswerer(engine, choice, device=_device_name(device))


def _device_name(device: str) -> str:
    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name(torch.device("cuda" if device == "auto" else device)))


class LocalAnswerer:
    """An `Answerer` over an engine, which is warm and has nothing else in hand."""

    def __init__(self, engine: Engine, choice: DecodingChoice, *, device: str) -> None:
        """Take the engine and how to decode; ``device`` says for people what it runs on."""
        self._engine = engine
        self._device = device
        limit = choice.max_new_tokens
        standard = DecodingOptions(num_beams=choice.num_beams)
        self._options = (
            standard
            if limit is None
            else DecodingOptions(num_beams=choice.num_beams, max_new_tokens=limit)
        )

    @property
    def model(self) -> JudgedModel:
        """The engine's model."""
        card = self._engine.card
        return JudgedModel(card.name, card.fingerprint, card.dtype, f"local {self._device}")

    def close(self) -> None:
        """Free the model. Idempotent."""
        self._engine.close()

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Yield a reply to every question, in the order in which the engine ends them."""
        waiting: dict[str, Question] = {}
        with ThreadPoolExecutor(_PREPARERS, "prepare") as pool:
            groups = self._prepared(pool, questions)
            more = True
            while more or waiting:
                while more and len(waiting) < _IN_ENGINE_MAX:
                    group = next(groups, None)
                    more = group is not None
                    if group is not None:
                        yield from self._submit(group, waiting)
                for event in self._engine.step() if waiting else ():
                    if isinstance(event, SequenceFinished):
                        yield self._reply(waiting.pop(event.sequence_id), event)

    def _prepared(
        self, pool: ThreadPoolExecutor, questions: Sequence[Question]
    ) -> Iterator[_Group]:
        """Yield the questions image by image, with some images under way ahead of them."""
        ahead: deque[_Group] = deque()
        for _, each in itertools.groupby(questions, key=lambda question: question.image_id):
            group = tuple(each)
            ahead.append(_Group(group, pool.submit(self._prepare, group[0])))
            if len(ahead) > _AHEAD:
                yield ahead.popleft()
        yield from ahead

    def _prepare(self, question: Question) -> PreparedImage:
        return self._engine.prepare(question.picture())

    def _submit(self, group: _Group, waiting: dict[str, Question]) -> Iterator[Reply]:
        """Hand the questions of an image to the engine; yield those that cannot be asked."""
        try:
            image = group.image.result()
        except ArnoError as fault:
            yield from (Reply(question.question_id, fault) for question in group.questions)
            return
        for question in group.questions:
            self._engine.submit(self._request(question, image))
            waiting[question.question_id] = question

    def _request(self, question: Question, image: PreparedImage) -> SequenceRequest:
        spec = question.spec
        return SequenceRequest(
            sequence_id=question.question_id,
            image=image,
            prompt=build_prompt(
                spec.task,
                text=spec.text,
                classes=spec.classes,
                region=spec.region,
                size=question.size,
            ),
            options=self._options,
            deadline_s=None,
            lane=_LANE,
            tenant=_TENANT,
            expected_token_count=expected_tokens(spec.task),
        )

    def _reply(self, question: Question, finished: SequenceFinished) -> Reply:
        if finished.error is not None:
            return Reply(question.question_id, finished.error)
        decoded = Decoded(finished.token_ids, finished.logprobs, finished.finish_reason)
        spec = question.spec
        answer = parse(
            spec.task,
            decoded,
            self._engine.token_table,
            question.size,
            region=spec.region,
            classes=spec.classes,
        )
        return Reply(question.question_id, answer)
