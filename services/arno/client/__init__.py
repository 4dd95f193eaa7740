"""The Python SDK: clients of a gateway, typed results, drawings, exports. Never imports torch."""

from arno.client.aio import AsyncClient
from arno.client.channel import DEFAULT_ADDRESS, Tls
from arno.client.jobs import Job, JobState
from arno.client.requests import Frame, Lane, StreamOptions, StreamPolicy, TaskLike, TaskRequest
from arno.client.results import (
    FrameResult,
    ImageDescription,
    InferResult,
    Model,
    TaskResult,
    Timings,
)
from arno.client.sync import Client
from arno.ops.image_input import ImageLike

__all__ = [
    "DEFAULT_ADDRESS",
    "AsyncClient",
    "Client",
    "Frame",
    "FrameResult",
    "ImageDescription",
    "ImageLike",
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
