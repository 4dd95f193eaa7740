"""The routes that Label Studio calls, and the predictions that answer them.

Label Studio gives up a request after 100 s, and all that was predicted for it is lost. So every
image becomes a durable job, under a key that the image, the tasks and the model make: a request
answers what is done when its time is over; the rest goes on, and comes by the next request for the
same task, or by itself where an access token allows it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from arno.client import AsyncClient
from arno.errors import ArnoError, InvalidFieldError, LimitExceededError, UnavailableError
from arno.vocabulary import ImageSize
from arno.vocabulary.results import InferResult, Job
from arno.web.calls import client_of, models_of, settings_of
from arno.web.events import unless_gone
from arno.web.label_studio.access import LabelStudio
from arno.web.label_studio.label_config import read_label_config
from arno.web.label_studio.plans import ImagePlan, plans_of
from arno.web.label_studio.task_images import TaskImages
from arno.web.request_reader import read_json
from arno.web.settings import AppSettings

logger = logging.getLogger(__name__)

Prediction: TypeAlias = dict[str, Any]
Outcome: TypeAlias = Prediction | ArnoError | None
"""A prediction, why there is none, or None where it is not done."""

_HEALTH_TIMEOUT_S: Final = 0.7
"""Label Studio waits for a second."""

_WATCHED_MAX: Final = 64
"""Jobs that are watched at once: each is an open call of the gateway."""


class Backend:
    """Makes predictions for the tasks of requests. Lives in one asyncio loop."""

    def __init__(self, settings: AppSettings, studio: LabelStudio, images: TaskImages) -> None:
        """Take the limits, where predictions go, and where images come from."""
        self._settings = settings
        self._studio = studio
        self._images = images
        self._fetching = asyncio.Semaphore(settings.web_fetches_max)
        self._watching = asyncio.Semaphore(_WATCHED_MAX)
        self._late: dict[object, asyncio.Task[None]] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: AppSettings) -> AsyncIterator[Backend]:
        """Connect; at the end give up what is late: its jobs go on.

        Raises:
            ConfigurationError: The token's file cannot be read.
        """
        studio = LabelStudio(settings)
        images = TaskImages(settings, studio)
        backend = cls(settings, studio, images)
        try:
            yield backend
        finally:
            late = list(backend._late.values())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            await images.close()
            await studio.close()

    @property
    def late_count(self) -> int:
        """How many predictions are awaited that will be sent to Label Studio."""
        return len(self._late)

    async def predict(
        self,
        client: AsyncClient,
        plans: Sequence[ImagePlan],
        tasks: Sequence[dict[str, Any]],
        *,
        model: str,
    ) -> list[Outcome]:
        """Return an outcome for each task, once all are done or the time of a request is over."""
        # One image belongs to an annotator who waits; many are a batch.
        lane = "interactive" if len(tasks) == 1 else "batch"
        work = [
            asyncio.create_task(self._predict(client, plans, task, lane=lane, model=model))
            for task in tasks
        ]
        try:
            for task in tasks:
                if late := self._late.pop(task.get("id"), None):
                    late.cancel()  # this request brings it
            if work:
                await asyncio.wait(work, timeout=self._settings.web_label_studio_wait_s)
        except asyncio.CancelledError:
            for one in work:
                one.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            raise
        return [self._outcome(task, one) for task, one in zip(tasks, work, strict=True)]

    def _outcome(self, task: dict[str, Any], work: asyncio.Task[Prediction]) -> Outcome:
        if not work.done():
            self._bring_later(task.get("id"), work)
            return None
        error = work.exception()
        if error is None:
            return work.result()
        if isinstance(error, ArnoError):
            return error
        raise error

    def _bring_later(self, task_id: object, work: asyncio.Task[Prediction]) -> None:
        full = len(self._late) >= self._settings.web_label_studio_late_max
        if not self._studio.writable or task_id is None or full:
            work.cancel()
            return

        async def bring() -> None:
            try:
                await self._studio.add_prediction(task_id, await work)
            except ArnoError as error:
                logger.warning("no prediction: %s", error.message, extra={"task": task_id})
            finally:
                work.cancel()

        bringing = asyncio.create_task(bring())
        self._late[task_id] = bringing
        bringing.add_done_callback(lambda _: self._drop(task_id, bringing))

    def _drop(self, task_id: object, bringing: asyncio.Task[None]) -> None:
        if self._late.get(task_id) is bringing:
            del self._late[task_id]

    async def _predict(
        self,
        client: AsyncClient,
        plans: Sequence[ImagePlan],
        task: dict[str, Any],
        *,
        lane: str,
        model: str,
    ) -> Prediction:
        jobs = []
        for plan in plans:
            async with self._fetching:
                field = f"tasks[id={task.get('id')}].data.{plan.key}"
                data = cast("dict[str, Any]", task.get("data") or {})
                image = await self._images.get(field, data.get(plan.key), task_id=task.get("id"))
                jobs.append(
                    await client.submit(
                        image, *plan.specs, lane=lane, idempotency_key=_key(image, plan, model)
                    )
                )
        found: list[dict[str, Any]] = []
        version = model
        for plan, job in zip(plans, jobs, strict=True):
            async with self._watching:
                result = _result_of(await client.wait(job.id))
            image_size = result.image
            if image_size is None:
                raise UnavailableError(f"job {job.id} ended before its image was read")
            size = ImageSize(image_size.width_px, image_size.height_px)
            found += plan.entries(result.tasks, size)
            version = result.model.version if result.model else version
        scores = [entry["score"] for entry in found if "score" in entry]
        score = sum(scores) / len(scores) if scores else 0.0
        return {"model_version": version, "score": score, "result": found}


async def health(request: Request) -> Response:
    """Say that predictions can be made."""
    client: AsyncClient = request.app.state.client
    if await client.ready(timeout_s=_HEALTH_TIMEOUT_S):
        return JSONResponse({"status": "UP", "model_class": "Arno"})
    raise UnavailableError(f"the gateway at {client.address} is not ready")


async def setup(request: Request) -> Response:
    """Check a project's label config, and name the model."""
    document = await read_json(request)
    _plans(document.get("schema"), settings_of(request))
    return JSONResponse({"model_version": await _model_of(request)})


async def versions(request: Request) -> Response:
    """List the versions of the model: the one that is served."""
    return JSONResponse({"versions": [await _model_of(request)]})


async def predict(request: Request) -> Response:
    """Predict what annotators would draw and write."""
    settings = settings_of(request)
    document = await read_json(request)
    plans = _plans(document.get("label_config"), settings)
    tasks = _tasks_of(document, settings)
    model = await _model_of(request)
    backend: Backend = request.app.state.label_studio
    work = backend.predict(client_of(request), plans, tasks, model=model)
    outcomes = await unless_gone(request.receive, work)
    errors = [one for one in outcomes if isinstance(one, ArnoError)]
    if errors and len(errors) == len(outcomes):
        raise errors[0]
    for task, one in zip(tasks, outcomes, strict=True):
        if isinstance(one, ArnoError):
            logger.warning("no prediction: %s", one.message, extra={"task": task.get("id")})
    # No prediction is an empty list: an empty prediction would be kept, and never made again.
    results = [one if isinstance(one, dict) else [] for one in outcomes]
    pending = [task.get("id") for task, one in zip(tasks, outcomes, strict=True) if one is None]
    return JSONResponse({"results": results, "model_version": model, "pending": pending})


async def webhook(request: Request) -> Response:
    """Take note of an event of Label Studio: nothing here learns from annotations."""
    document = await read_json(request)
    logger.debug("webhook", extra={"action": str(document.get("action"))})
    return JSONResponse({"status": "ok", "result": None})


ROUTES: Final = [
    Route("/health", health),
    Route("/setup", setup, methods=["POST"]),
    Route("/versions", versions),
    Route("/predict", predict, methods=["POST"]),
    Route("/webhook", webhook, methods=["POST"]),
]


def _settings_of(request: Request) -> AppSettings:
    return cast("AppSettings", request.app.state.settings)


async def _model_of(request: Request) -> str:
    """Return the version of the model, by which Label Studio tells predictions apart."""
    models = await models_of(request)
    return models[0].version if models else settings_of(request).web_model


def _plans(label_config: object, settings: AppSettings) -> tuple[ImagePlan, ...]:
    config = read_label_config(label_config)
    return plans_of(config, score_min=settings.web_label_studio_score_min)


def _tasks_of(document: dict[str, Any], settings: AppSettings) -> list[dict[str, Any]]:
    tasks = document.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InvalidFieldError(field="tasks", problem="must be a list of Label Studio's tasks")
    limit = settings.web_label_studio_tasks_max
    if len(tasks) > limit:
        raise LimitExceededError(
            field="tasks",
            problem="too many (web_label_studio_tasks_max)",
            limit=str(limit),
            sent=str(len(tasks)),
        )
    return tasks


def _key(image: bytes, plan: ImagePlan, model: str) -> str:
    """Return the idempotency key of a question: a request that comes again finds its answer."""
    asked = hashlib.sha256(image)
    asked.update(f"{model} {plan.specs} {[spec.candidates for spec in plan.specs]}".encode())
    return f"label-studio-{asked.hexdigest()}"


def _result_of(job: Job) -> InferResult:
    if job.error is not None:
        raise job.error
    if job.result is None:
        raise UnavailableError(f"job {job.id} ended without a result")
    return job.result
