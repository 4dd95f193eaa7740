"""The OpenAI-compatible API: `/v1/chat/completions` and `/v1/models`.

A chat here is one image and one task. The image is the last one of the user's messages, the task is
in the text of the last of them (`chat_prompt`); system messages and what other models need
(temperature and so on) have no meaning and are not read.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from arno.client import AsyncClient, InferResult
from arno.client.export import to_json
from arno.errors import InvalidFieldError, UnknownModelError
from arno.vocabulary import FinishReason, Region, TextAnswer, bounding_box
from arno.vocabulary.spec import TaskSpec
from arno.vocabulary.wire import region_to_wire
from arno.web.calls import client_of, models_of, settings_of
from arno.web.chat_prompt import task_of_prompt
from arno.web.events import EventResponse, ServerEvent, unless_gone
from arno.web.request_reader import decode_image, read_json, timeout_of

UNIT: Final = "pixel"
"""Of every coordinate: pixels of the image as it was sent, as a viewer shows it."""

_FINISH_REASONS: Final = {FinishReason.STOP: "stop"}
"""All others cut the answer, which this API calls `length`."""


@dataclass(frozen=True, slots=True)
class _Chat:
    """What a request asks for."""

    image: bytes
    task: TaskSpec
    model: str
    stream: bool
    usage_wanted: bool


async def complete(request: Request) -> Response:
    """Run the task of a chat on its image."""
    settings = settings_of(request)
    timeout_s = timeout_of(request, settings)
    document = await read_json(request)
    await _check_model(request, document.get("model"))
    chat = _read(document)
    client = client_of(request)
    if chat.stream:
        chunks = _chunks(client, chat, timeout_s)
        return cast("Response", await EventResponse.start(request.receive, chunks))
    work = client.infer(chat.image, chat.task, timeout_s=timeout_s)
    completion = _Completion(chat, await unless_gone(request.receive, work))
    return JSONResponse(completion.document())


async def list_models(request: Request) -> Response:
    """List the name that always means the served model, and the model's own."""
    models = [_listed(name) for name in await _names(request)]
    return JSONResponse({"object": "list", "data": models})


async def get_model(request: Request) -> Response:
    """Describe the model."""
    await _check_model(request, request.path_params["model"])
    return JSONResponse(_listed(request.path_params["model"]))


ROUTES: Final = [
    Route("/v1/chat/completions", complete, methods=["POST"]),
    Route("/v1/models", list_models),
    Route("/v1/models/{model}", get_model),
]


class _Completion:
    """The answer to one chat, in the forms of the API."""

    def __init__(self, chat: _Chat, result: InferResult) -> None:
        """Take the one task's outcome.

        Raises:
            ArnoError: The task failed; this is why.
        """
        (task,) = result.tasks
        self._answer = task.answer
        self._head = {
            "id": f"chatcmpl-{result.job_id}",
            "created": int(time.time()),
            "model": chat.model,
            "system_fingerprint": result.model.fingerprint if result.model else None,
        }
        value = self._answer.value
        regions = [_region(region) for region in self._answer.regions]
        self.content = value.text if isinstance(value, TextAnswer) else json.dumps(_short(regions))
        self.extra = {
            "unit": UNIT,
            "regions": regions,
            "image": to_json(result.message.image),
            "job_id": result.job_id,
        }
        self.finish_reason = _FINISH_REASONS.get(self._answer.finish_reason, "length")

    @property
    def usage(self) -> dict[str, int]:
        """Tokens: the answer's. What goes in is an image, which nothing here counts in tokens."""
        count = self._answer.token_count
        return {"prompt_tokens": 0, "completion_tokens": count, "total_tokens": count}

    def document(self) -> dict[str, Any]:
        """Return the whole answer."""
        message = {"role": "assistant", "content": self.content, **self.extra}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        head = {**self._head, "object": "chat.completion"}
        return {**head, "choices": [choice], "usage": self.usage}

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> ServerEvent:
        """Return a part of the answer."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        head = {**self._head, "object": "chat.completion.chunk"}
        return ServerEvent("", {**head, "choices": [choice]})

    def usage_chunk(self) -> ServerEvent:
        """Return the last part, where it was asked for."""
        head = {**self._head, "object": "chat.completion.chunk"}
        return ServerEvent("", {**head, "choices": [], "usage": self.usage})


async def _chunks(client: AsyncClient, chat: _Chat, timeout_s: float) -> AsyncIterator[ServerEvent]:
    # A model that looks for the best of several answers has none before it has ended.
    result = await client.infer(chat.image, chat.task, timeout_s=timeout_s)
    completion = _Completion(chat, result)
    yield completion.chunk({"role": "assistant", "content": ""})
    yield completion.chunk({"content": completion.content})
    yield completion.chunk(completion.extra, completion.finish_reason)
    if chat.usage_wanted:
        yield completion.usage_chunk()
    yield ServerEvent("", "[DONE]")


def _region(region: Region) -> dict[str, Any]:
    box = bounding_box(region.shape)
    sides = [round(side, 2) for side in (box.x0, box.y0, box.x1, box.y1)]
    return {"bbox_2d": sides, **to_json(region_to_wire(region))}


def _short(regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"bbox_2d": one["bbox_2d"], "label": one.get("label", ""), "unit": UNIT} for one in regions
    ]


async def _names(request: Request) -> list[str]:
    own = [model.name for model in await models_of(request)]
    return list(dict.fromkeys([settings_of(request).web_model, *own]))


async def _check_model(request: Request, name: object) -> None:
    if name == settings_of(request).web_model:
        return  # nothing to ask the gateway for
    names = await _names(request)
    if name not in names:
        raise UnknownModelError(str(name), ", ".join(names))


def _listed(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "arno"}


def _read(document: dict[str, Any]) -> _Chat:
    if document.get("n") not in (None, 1):
        problem = "there is one answer"
        raise InvalidFieldError(field="n", problem=problem, limit="1", sent=str(document["n"]))
    text, image = _read_messages(document.get("messages"))
    task = task_of_prompt(text, image)
    limit = document.get("max_completion_tokens", document.get("max_tokens"))
    if limit is not None:
        if not isinstance(limit, int):
            field = "max_completion_tokens"
            raise InvalidFieldError(field=field, problem="must be a number", sent=str(limit))
        if task.max_new_tokens is None:
            task = replace(task, max_new_tokens=limit)
    options = document.get("stream_options")
    wanted = isinstance(options, dict) and options.get("include_usage") is True
    return _Chat(image, task, str(document["model"]), document.get("stream") is True, wanted)


def _read_messages(messages: object) -> tuple[str, bytes]:
    """Return the text of the last message of the user, and the last image of all of them."""
    if not isinstance(messages, list):
        raise InvalidFieldError(field="messages", problem="must be a list")
    text, image = "", None
    for index, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            text, images = _read_content(f"messages[{index}].content", message.get("content"))
            if len(images) > 1:
                field = f"messages[{index}].content"
                sent = str(len(images))
                problem = "a message may hold one image"
                raise InvalidFieldError(field=field, problem=problem, limit="1", sent=sent)
            image = images[0] if images else image
    if image is None:
        limit = "one part of the type image_url, with a data URL"
        raise InvalidFieldError(field="messages", problem="there is no image", limit=limit)
    return text, image


def _read_content(field: str, content: object) -> tuple[str, list[bytes]]:
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list):
        raise InvalidFieldError(field=field, problem="must be text, or a list of parts")
    texts, images = [], []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(str(part.get("text", "")))
        elif kind == "image_url":
            where = f"{field}[{index}].image_url"
            given = part.get("image_url")
            url = given.get("url") if isinstance(given, dict) else given
            images.append(decode_image(where, url))
        else:
            raise InvalidFieldError(
                field=f"{field}[{index}].type",
                problem="not read here",
                limit="text, image_url",
                sent=str(kind),
            )
    return "\n".join(texts), images
