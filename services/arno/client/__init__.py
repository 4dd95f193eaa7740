"""The Python SDK: clients of a gateway, typed results, drawings, exports. Never imports torch."""

from arno.client.aio import AsyncClient
from arno.client.channel import DEFAULT_ADDRESS, Tls
from arno.client.many import ImageResult
from arno.client.requests import Frame, StreamOptions, TaskRequest
from arno.client.sync import Client
from arno.images.input import ImageLike
from arno.vocabulary import JobState, Lane, StreamPolicy
from arno.vocabulary.results import (
    FrameResult,
    ImageDescription,
    InferResult,
    Job,
    Model,
    TaskResult,
    Timings,
)
from arno.vocabulary.spec import TaskLike

__all__ = [
    "DEFAULT_ADDRESS",
    "AsyncClient",
    "Client",
    "Frame",
    "FrameResult",
    "ImageDescription",
    "ImageLike",
    "ImageResult",
    "InferResult",
    "Job",
    "JobState",
    "Lane",
    "Model",
    "StreamOptions",
    "StreamPolicy",
    "TaskLike",
    "TaskRequest",
    "TaskResult",
    "Timings",
    "Tls",
]
