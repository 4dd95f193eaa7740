"""The monitor goes on asking, whatever a backend's client raises."""

from __future__ import annotations

import pytest
from arno.errors import BackendUnavailableError, ConfigurationError
from arno.gateway.backends import BackendMonitor
from support.eventually import eventually_async


@pytest.mark.parametrize(
    "fault",
    [
        BackendUnavailableError("gone"),
        ConfigurationError("kafka: the user may not describe the cluster"),
        RuntimeError("NetworkSelector closed!"),
    ],
    ids=["away", "not allowed", "a fault of its client"],
)
async def test_backend_that_fails_in_any_way_is_asked_again(fault: Exception):
    answers: list[Exception | None] = [None, fault, None]

    async def ping() -> None:
        answer = answers.pop(0) if answers else None
        if answer is not None:
            raise answer

    seen: list[set[str]] = []

    async def note() -> None:
        seen.append(set(monitor.problems))

    monitor = BackendMonitor({"bus": ping}, interval_s=0.001, timeout_s=1.0, on_change=note)
    await monitor.start()

    async def away_and_back() -> bool:
        return seen == [set(), {"bus"}, set()]

    await eventually_async(away_and_back)
    await monitor.close()
    monitor.require()
