"""The engine of the benchmarks shares its slots by the rules of the real one."""

from __future__ import annotations

from arno.engine.interface import DecodingOptions, PreparedImage, SequenceRequest
from arno.engine.settings import EngineSettings
from arno.vocabulary import ImageSize, Lane

from benchmarks import paced_worker
from benchmarks.paced_worker import SLOT_COUNT, STEP_COUNT, PacedEngine

_NEEDED = 3


def _asked(tenant: str, number: int) -> SequenceRequest:
    return SequenceRequest(
        sequence_id=f"{tenant} {number}",
        image=PreparedImage("", None, ImageSize(1, 1), "image/png", 0.0),
        prompt="",
        options=DecodingOptions(),
        deadline_s=None,
        lane=Lane.INTERACTIVE,
        tenant=tenant,
        expected_token_count=1,
    )


def test_a_flood_leaves_free_what_another_tenant_needed(monkeypatch) -> None:
    monkeypatch.setattr(paced_worker, "STEP_S", 0.0)
    engine = PacedEngine(EngineSettings(model="null"))
    for number in range(3 * SLOT_COUNT):
        engine.submit(_asked("hostile", number))
    for number in range(_NEEDED):
        engine.submit(_asked("people", number))
    ended = [
        len([event for _ in range(STEP_COUNT) for event in engine.step()]) for _turn in range(2)
    ]
    assert ended == [SLOT_COUNT, SLOT_COUNT - _NEEDED]
