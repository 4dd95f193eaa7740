"""HTTP/JSON: ask and wait, submit and look later, follow by server-sent events, list the tasks.

Every answer is the API's own message in protobuf's JSON form, as `arno infer --json` writes it.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from arno.api.v1 import job_pb2, vision_pb2
from arno.client import AsyncClient
from arno.client.export import to_json
from arno.errors import ArnoError, Code, UnauthenticatedError
from arno.vocabulary.catalogue import CATALOGUE
from arno.vocabulary.results import Job, Model
from arno.web.events import EventResponse, ServerEvent, unless_gone
from arno.web.request_reader import Asked, read_asked, timeout_of
from arno.web.settings import AppSettings

_BEARER: Final = "bearer "
_BASIC: Final = "basic "
"""What Label Studio shows: the password is the key, the user's name does not matter."""


def client_of(request: Request) -> AsyncClient:
    """Return the gateway's client, which shows the API key of this request if there is one."""
    return client_for(cast("AsyncClient", request.app.state.client), request.headers)


def client_for(shared: AsyncClient, headers: Mapping[str, str]) -> AsyncClient:
    """Return the client, showing the API key of these headers if there is one."""
    key = _shown(headers.get("authorization", "")) or headers.get("x-api-key", "")
    return shared.with_key(key) if key else shared


def _shown(authorization: str) -> str:
    if authorization.lower().startswith(_BEARER):
        return authorization[len(_BEARER) :].strip()
    if authorization.lower().startswith(_BASIC):
        try:
            pair = base64.b64decode(authorization[len(_BASIC) :], validate=True).decode()
        except ValueError as error:
            raise UnauthenticatedError("authorization: not Basic as RFC 7617 has it") from error
        return pair.partition(":")[2]
    return ""


def settings_of(request: Request) -> AppSettings:
    """Return the settings of the process."""
    return cast("AppSettings", request.app.state.settings)


async def models_of(request: Request) -> tuple[Model, ...]:
    """Return the models that answer; none where the gateway is too old to name them.

    Raises:
        ArnoError: The gateway cannot say.
    """
    try:
        return await client_of(request).models()
    except ArnoError as error:
        if error.code is Code.UNIMPLEMENTED:
            return ()
        raise


async def infer(request: Request) -> Response:
    """Run tasks on one image, and answer when all have ended; or each as it ends, as events."""
    timeout_s = timeout_of(request, settings_of(request))
    asked = await read_asked(request, vision_pb2.InferRequest())
    client = client_of(request)
    if "text/event-stream" in request.headers.get("accept", ""):
        events = _answers_as_they_come(client, asked, timeout_s)
        return cast("Response", await EventResponse.start(request.receive, events))
    work = client.infer(
        asked.image,
        *asked.tasks,
        lane=asked.lane,
        idempotency_key=asked.idempotency_key,
        timeout_s=timeout_s,
    )
    return JSONResponse(to_json((await unless_gone(request.receive, work)).message))


async def submit(request: Request) -> Response:
    """Store a job, and answer at once with its id."""
    asked = await read_asked(request, job_pb2.SubmitJobRequest())
    job = await client_of(request).submit(
        asked.image,
        *asked.tasks,
        lane=asked.lane,
        idempotency_key=asked.idempotency_key,
        time_to_live_s=asked.time_to_live_s,
    )
    return JSONResponse(to_json(job.message), 202, {"Location": f"/v1/jobs/{job.id}"})


async def get_job(request: Request) -> Response:
    """Say how a job stands, with the results so far."""
    job = await client_of(request).get(request.path_params["job_id"])
    return JSONResponse(to_json(job.message))


async def watch_job(request: Request) -> Response:
    """Send the job at once, and again after every change until it has ended."""
    watched = client_of(request).watch(request.path_params["job_id"])

    async def events() -> AsyncIterator[ServerEvent]:
        async for job in watched:
            yield ServerEvent("job", to_json(job.message))

    return cast("Response", await EventResponse.start(request.receive, events()))


async def cancel_job(request: Request) -> Response:
    """Stop a job."""
    job = await client_of(request).cancel(request.path_params["job_id"])
    return JSONResponse(to_json(job.message))


async def delete_job(request: Request) -> Response:
    """Stop a job, and forget it with its results."""
    await client_of(request).delete(request.path_params["job_id"])
    return Response(status_code=204)


async def list_tasks(_: Request) -> Response:
    """List what can be asked, what each task needs, and what it answers."""
    tasks = [
        {
            "task": row.task,
            "prompt": row.prompt,
            "input": row.extra_input,
            "answer": row.answer_kind,
        }
        for row in CATALOGUE.values()
    ]
    return JSONResponse({"tasks": tasks})


ROUTES: Final = [
    Route("/v1/infer", infer, methods=["POST"]),
    Route("/v1/tasks", list_tasks),
    Route("/v1/jobs", submit, methods=["POST"]),
    Route("/v1/jobs/{job_id}", get_job),
    Route("/v1/jobs/{job_id}", delete_job, methods=["DELETE"]),
    Route("/v1/jobs/{job_id}/cancel", cancel_job, methods=["POST"]),
    Route("/v1/jobs/{job_id}/events", watch_job),
]


async def _answers_as_they_come(
    client: AsyncClient, asked: Asked, timeout_s: float
) -> AsyncIterator[ServerEvent]:
    """Run the tasks as a job that lasts as long as the caller listens."""
    job = await client.submit(
        asked.image,
        *asked.tasks,
        lane=asked.lane or "interactive",
        idempotency_key=asked.idempotency_key,
        time_to_live_s=timeout_s,
    )
    told: set[str] = set()
    try:
        yield ServerEvent("job", to_json(job.message))
        async for seen in client.watch(job.id):
            for result in seen.message.response.results:
                if result.id not in told:
                    told.add(result.id)
                    yield ServerEvent("task", to_json(result))
            if seen.ended:
                yield _end(seen)
    finally:
        if not asked.idempotency_key:
            await _forget(client, job)


def _end(job: Job) -> ServerEvent:
    if job.error is not None and not job.message.response.results:
        raise job.error
    return ServerEvent("done", to_json(job.message.response))


async def _forget(client: AsyncClient, job: Job) -> None:
    """Stop and delete a job of which the caller has heard all that it will hear."""
    try:
        await client.delete(job.id, timeout_s=5.0)
    except ArnoError:
        # It ends by its deadline all the same.
        return
