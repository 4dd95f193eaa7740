"""Which failures of the gateway an image is given up for, and which are waited out."""

from __future__ import annotations

import asyncio

import pytest
from arno.errors import (
    ArnoError,
    BackendUnavailableError,
    DeadlineExceededError,
    EngineError,
    InvalidFieldError,
    InvalidImageError,
    PoisonedJobError,
    QuotaExceededError,
    UnauthenticatedError,
)
from arno.ingest.topics.asker import Asker, Question
from arno.vocabulary.results import InferResult

ANSWER = object.__new__(InferResult)
IMAGE_FAULT = InvalidImageError(field="image.content", problem="not an image")
FRAME_FAULT = InvalidImageError(field="frame.image.content", problem="not an image")


class Gateway:
    """Raises what it was told to, one a call, then answers."""

    def __init__(self, *faults: ArnoError) -> None:
        self.faults = list(faults)
        self.keys: list[str] = []
        self.pauses: list[float] = []
        self.reasons: list[str] = []

    async def infer(self, image, idempotency_key):
        self.keys.append(idempotency_key)
        if self.faults:
            raise self.faults.pop(0)
        return ANSWER

    def asker(self, attempts_max: int = 3) -> Asker:
        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)

        question = Question([], "batch", timeout_s=1.0, attempts_max=attempts_max)
        return Asker(
            self.infer, question, on_retry=self.reasons.append, in_flight_max=64, pause=pause
        )


@pytest.mark.parametrize(
    "fault",
    [
        BackendUnavailableError("kafka: away"),
        QuotaExceededError(quota="jobs", limit="1", retry_delay_s=3.0),
        UnauthenticatedError("no key"),
        InvalidFieldError(field="tasks[0].text", problem="too long"),
        ArnoError("a proxy answers"),
    ],
    ids=lambda fault: fault.reason,
)
async def test_what_is_no_fault_of_the_image_is_waited_out_with_one_key(fault):
    gateway = Gateway(*[fault] * 50)
    asker = gateway.asker()
    assert await asker.ask(b"image", "key") is ANSWER
    assert gateway.keys == ["key"] * 51
    assert gateway.reasons == [fault.reason] * 50
    assert max(gateway.pauses) <= 6.0
    assert asker.problem == ""


async def test_retry_delay_of_the_gateway_is_kept():
    gateway = Gateway(QuotaExceededError(quota="jobs", limit="1", retry_delay_s=3.0))
    await gateway.asker().ask(b"image", "key")
    assert gateway.pauses[0] >= 0.8 * 3.0


@pytest.mark.parametrize(
    "fault", [IMAGE_FAULT, FRAME_FAULT, PoisonedJobError("killed its workers")], ids=repr
)
async def test_image_that_no_attempt_will_answer_is_given_up_at_once(fault):
    gateway = Gateway(fault)
    with pytest.raises(type(fault)):
        await gateway.asker().ask(b"image", "key")
    assert gateway.pauses == []


@pytest.mark.parametrize(
    "fault", [DeadlineExceededError("late"), EngineError("failed")], ids=lambda one: one.reason
)
async def test_image_whose_attempts_fail_is_given_up_after_so_many(fault):
    gateway = Gateway(*[fault] * 9)
    with pytest.raises(type(fault)):
        await gateway.asker(attempts_max=3).ask(b"image", "key")
    assert len(gateway.keys) == 3


async def test_image_that_times_out_lessens_what_is_in_flight():
    gateway = Gateway(DeadlineExceededError("late"))
    asker = gateway.asker()
    asker.pace.in_flight_max = 16
    await asker.ask(b"image", "key")
    # A quarter, and one more for the answer that came then.
    assert asker.pace.in_flight_max == 5


class Holding:
    """A gateway that answers when it is told to."""

    def __init__(self) -> None:
        self.open: list[asyncio.Future[None]] = []
        self.asked = 0

    async def infer(self, image, idempotency_key):
        self.asked += 1
        self.open.append(asyncio.get_running_loop().create_future())
        await self.open[-1]
        return ANSWER


async def test_images_beyond_those_that_may_be_in_flight_wait_for_their_turn():
    gateway = Holding()
    question = Question([], "batch", timeout_s=60.0, attempts_max=3)
    asker = Asker(gateway.infer, question, on_retry=lambda reason: None, in_flight_max=2)
    asks = [asyncio.create_task(asker.ask(b"image", str(number))) for number in range(5)]
    await asyncio.sleep(0)
    assert gateway.asked == 2
    asks[2].cancel()
    gateway.open[0].set_result(None)
    await asks[0]
    await asyncio.sleep(0)
    assert gateway.asked == 3
    for number in (1, 2):
        gateway.open[number].set_result(None)
    await asyncio.gather(*asks[1:2], *asks[3:4])
    await asyncio.sleep(0)
    gateway.open[3].set_result(None)
    assert await asks[4] is ANSWER
    assert gateway.asked == 4


async def test_outage_between_does_not_count_as_an_attempt():
    late, away = DeadlineExceededError("late"), BackendUnavailableError("kafka: away")
    gateway = Gateway(late, away, away, away, late)
    assert await gateway.asker(attempts_max=3).ask(b"image", "key") is ANSWER


async def test_problem_tells_what_is_in_the_way():
    asker = Gateway(UnauthenticatedError("the key has expired"), IMAGE_FAULT).asker()
    with pytest.raises(InvalidImageError):
        await asker.ask(b"image", "key")
    assert asker.problem == "the key has expired"
