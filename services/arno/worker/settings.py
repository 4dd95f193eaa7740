"""The settings of a worker."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arno.bus.settings import BusSettings
from arno.engine.settings import EngineSettings
from arno.ops.config import ObservabilitySettings, TenantMetricsSettings
from arno.results.settings import ResultSettings


class WorkerSettings(
    EngineSettings, BusSettings, ResultSettings, TenantMetricsSettings, ObservabilitySettings
):
    """Settings of a worker, with those of its bus, its store and its engine.

    A prepared image takes about 7 MB, and each lane may hold ``window`` of them.
    """

    help_section = "Worker"

    lanes: tuple[Literal["interactive", "stream", "batch"], ...] = Field(
        ("interactive", "stream", "batch"),
        min_length=1,
        description="Lanes that this worker takes jobs from, comma-separated.",
    )
    prepare_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads that begin jobs and prepare images; 0: as many as there are CPUs "
        "that this process may use, and at most 16. As many more, at least 2, are for "
        "large images.",
    )
    tenant_prepare_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Part of the threads for large images, and of `image_pixels_in_flight_max`, "
        "that one tenant's jobs may take at once, where there are API keys. Of the other prepare "
        "threads they leave the rest free for what other tenants needed lately.",
    )
    store_threads: int = Field(
        1,
        ge=1,
        le=64,
        description="Threads that write progress and results; more pay where the store is far.",
    )
    attempts_max: int = Field(
        3,
        ge=1,
        le=100,
        description="How many attempts at a job may end with the death of their worker; then it is "
        "given up.",
    )
    drain_s: float = Field(
        20.0,
        ge=0,
        description="How long jobs in flight may take to finish after SIGTERM, in seconds; stay "
        "well below the grace period of the platform.",
    )
    cancel_poll_s: float = Field(
        0.25,
        gt=0,
        le=60,
        description="How often to look for cancelled jobs, in seconds; five times as often while "
        "there are any.",
    )
    token_progress_s: float = Field(
        0.5, ge=0, le=60, description="Least time between two token counts of a job, in seconds."
    )
    step_stall_s: float = Field(
        120.0,
        gt=0,
        description="A step of the engine longer than this makes the liveness probe fail, in "
        "seconds.",
    )
