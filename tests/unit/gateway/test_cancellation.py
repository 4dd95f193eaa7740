"""Cancellations that are under way when the gateway leaves."""

from __future__ import annotations

import asyncio
import logging

from arno.gateway import lifecycle
from arno.gateway.lifecycle import BackgroundTasks, Canceller


class StoreThatHangs:
    """Answers for one job only."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    async def request_cancel(self, job_id: str) -> None:
        if job_id != "answered":
            await asyncio.Event().wait()
        self.cancelled.append(job_id)


async def test_store_that_hangs_does_not_hold_up_the_leaving(monkeypatch, caplog):
    monkeypatch.setattr(lifecycle, "CLOSE_S", 0.05)
    store = StoreThatHangs()
    sent: list[None] = []
    background = BackgroundTasks()
    canceller = Canceller(store, background, on_sent=lambda: sent.append(None))
    for job_id in ("hangs", "answered", "hangs too"):
        canceller.cancel_in_background(job_id)
    with caplog.at_level(logging.WARNING):
        await asyncio.wait_for(background.close(), timeout=20)
    assert store.cancelled == ["answered"]
    assert len(sent) == 3
    assert "2 cancellations and releases were not sent in time" in caplog.text


async def test_leaving_with_nothing_under_way_is_over_at_once():
    await BackgroundTasks().close()
