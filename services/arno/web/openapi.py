"""Describe the HTTP API as an OpenAPI 3.1 document."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from arno import __version__
from arno.api.v1 import job_pb2, vision_pb2
from arno.vocabulary import Lane, Task
from arno.web.message_schemas import Schema, message_schemas, reference

_MESSAGES: Final = (
    vision_pb2.InferRequest.DESCRIPTOR,
    vision_pb2.InferResponse.DESCRIPTOR,
    job_pb2.SubmitJobRequest.DESCRIPTOR,
    job_pb2.Job.DESCRIPTOR,
)
_JOB_ID: Final[Schema] = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
}
_CAMERA: Final[Schema] = {**_JOB_ID, "name": "name"}
_TIMEOUT: Final[Schema] = {
    "name": "timeout_s",
    "in": "query",
    "description": "Time limit of the answer and of the work behind it, in seconds.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "Problem details (RFC 9457); reasons are those of the gRPC API.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:arno:error:INVALID_FIELD"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string", "examples": ["INVALID_FIELD"]},
        "code": {"type": "string", "examples": ["INVALID_ARGUMENT"]},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "retryable": {"type": "boolean"},
    },
}
_TASK_LIST: Final[Schema] = {
    "type": "object",
    "properties": {
        "tasks": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "task": {"type": "string", "enum": list(Task)},
                    "prompt": {"type": "string"},
                    "input": {"type": "string"},
                    "answer": {"type": "string"},
                },
            },
        }
    },
}


_CHAT: Final[Schema] = {
    "type": "object",
    "description": "OpenAI's schema; one user message with one image and one text is read.",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": {"type": "array", "items": {"type": "object"}},
        "stream": {"type": "boolean"},
        "max_completion_tokens": {"type": "integer"},
    },
}
_ANY: Final[Schema] = {"type": "object"}
_SERVER: Final = "http://127.0.0.1:8080"
"""Where `arno up` serves HTTP; the page puts its own address in its place."""


@cache
def openapi_document() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Arno",
            "version": __version__,
            "description": "Florence-2 over HTTP. Bodies are the gRPC API's messages in "
            "protobuf's JSON form; descriptions use the names of the protos (`input_from`), which "
            "are read as well. Short forms: a task may be its name, a region four numbers, "
            "an image its base64 or a data URL, a lane its name in small letters.",
        },
        "paths": _paths(),
        "components": {
            "schemas": {**message_schemas(_MESSAGES), "Problem": _PROBLEM},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _cameras() -> dict[str, Any]:
    return {
        "/v1/cameras": {
            "get": _operation(
                "List the cameras that can be watched.", {"200": _answer("Their names.", _ANY)}
            )
        },
        "/v1/cameras/{name}": {
            "get": _operation(
                "Watch a camera: motion JPEG, each picture with what was found on it.",
                {
                    "200": {
                        "description": "Pictures.",
                        "content": {"multipart/x-mixed-replace": {"schema": {"type": "string"}}},
                    }
                },
                parameters=[_CAMERA],
            )
        },
    }


def _paths() -> dict[str, Any]:
    job = reference(job_pb2.Job.DESCRIPTOR)
    job_request = _image_request(reference(job_pb2.SubmitJobRequest.DESCRIPTOR))
    infer_request = _image_request(reference(vision_pb2.InferRequest.DESCRIPTOR))
    answer = _answer("The outcome of every task.", reference(vision_pb2.InferResponse.DESCRIPTOR))
    answer["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return {
        "/v1/infer": {
            "post": _operation(
                "Run tasks on one image and wait. With `Accept: text/event-stream`: events `job`, "
                "`task` as each task ends, `done`, and `error`.",
                {"200": answer},
                parameters=[_TIMEOUT],
                body=infer_request,
                sample="curl {server}/v1/infer -F image=@photo.jpg -F task=OD -F task=CAPTION",
            )
        },
        "/v1/tasks": {
            "get": _operation("List the tasks.", {"200": _answer("The tasks.", _TASK_LIST)})
        },
        "/v1/jobs": {
            "post": _operation(
                "Submit a durable job.",
                {"202": _answer("The job.", job)},
                body=job_request,
                sample="curl {server}/v1/jobs -F image=@photo.jpg -F task=OD",
            )
        },
        "/v1/jobs/{job_id}": {
            "get": _job("Get the state of a job, with the results so far.", job),
            "delete": _operation(
                "Stop a job and delete it with its results.",
                {"204": {"description": "The job is deleted."}},
                parameters=[_JOB_ID],
            ),
        },
        "/v1/jobs/{job_id}/cancel": {"post": _job("Stop a job.", job)},
        "/v1/jobs/{job_id}/events": {
            "get": _operation(
                "Follow a job: an event `job` at once and after every change, until it has ended.",
                {
                    "200": {
                        "description": "Server-sent events.",
                        "content": {"text/event-stream": {"schema": {"type": "string"}}},
                    }
                },
                parameters=[_JOB_ID],
            )
        },
        **_cameras(),
        **_openai(),
    }


def _openai() -> dict[str, Any]:
    chat = {"required": True, "content": {"application/json": {"schema": _CHAT}}}
    return {
        "/v1/chat/completions": {
            "post": _operation(
                "OpenAI-compatible: an image as a data URL, and a text with a task tag.",
                {"200": _answer("OpenAI's completion; `stream` answers in events.", _ANY)},
                body=chat,
            )
        },
        "/v1/models": {
            "get": _operation(
                "OpenAI-compatible: list the model.", {"200": _answer("The list.", _ANY)}
            )
        },
        "/v1/models/{model}": {
            "get": _operation(
                "OpenAI-compatible: describe the model.",
                {"200": _answer("The model.", _ANY)},
                parameters=[{**_JOB_ID, "name": "model"}],
            )
        },
    }


def _job(summary: str, job: Schema) -> Schema:
    return _operation(summary, {"200": _answer("The job.", job)}, parameters=[_JOB_ID])


def _operation(
    summary: str,
    responses: Schema,
    *,
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
    sample: str | None = None,
) -> Schema:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    failed = {"description": "An error, as a problem document.", "content": content}
    operation: Schema = {"summary": summary, "responses": {**responses, "default": failed}}
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = body
    if sample:
        # An extension that Redoc and others show, and this server's own page.
        source = sample.format(server=_SERVER)
        operation["x-codeSamples"] = [{"lang": "Shell", "label": "curl", "source": source}]
    return operation


def _answer(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _image_request(message: Schema) -> Schema:
    form = {
        "type": "object",
        "required": ["image", "task"],
        "properties": {
            "image": {
                "type": "string",
                "contentMediaType": "image/*",
                "description": "The image file.",
            },
            "task": {
                "type": "array",
                "items": {"type": "string"},
                "description": "A task's name, or a TaskSpec as JSON; may be repeated.",
            },
            "lane": {"type": "string", "enum": list(Lane), "description": "Priority class."},
            "idempotency_key": {
                "type": "string",
                "description": "A request that is sent again with it joins the work of the first.",
            },
        },
    }
    content = {"application/json": {"schema": message}, "multipart/form-data": {"schema": form}}
    return {"required": True, "content": content}
