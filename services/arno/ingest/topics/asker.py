"""Ask a gateway about one image for as long as a later attempt may succeed.

An image is given up only for what the image itself does: it cannot be decoded, it is too large, its
workers die, or several attempts time out or fail. What is wrong with the gateway, the key or the
settings is waited out, however long that takes: a gateway that was away, or a key that expired,
must not turn a topic of good images into dead letters.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from arno.client import TaskRequest
from arno.errors import ArnoError, Code, InvalidFieldError
from arno.ingest.pace import RecordPace
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.vocabulary.results import InferResult

logger = logging.getLogger(__name__)

_PAUSE_S_MIN: Final = 0.1
_PAUSE_S_MAX: Final = 5.0
_OF_THE_IMAGE: Final = ("image", "frame.image")
"""How the names of fields begin that speak of the image, not of the settings."""

_COUNTED: Final = frozenset({Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.CANCELLED})
"""What an image may be the cause of, or not: tried again, up to a number of attempts."""


Infer: TypeAlias = Callable[[bytes, str], Awaitable[InferResult]]
"""Asks the question about one image once, with an idempotency key; raises what the gateway says."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about every image.

    Attributes:
        tasks: The tasks.
        lane: Priority class.
        timeout_s: Time limit of one attempt.
        attempts_max: Attempts that may time out or fail.
    """

    tasks: Sequence[TaskRequest]
    lane: str
    timeout_s: float
    attempts_max: int


class Asker:
    """Asks one question about many images. Lives in one asyncio loop."""

    def __init__(
        self,
        infer: Infer,
        question: Question,
        *,
        on_retry: Callable[[str], None],
        in_flight_max: int = 1,
        clock: Clock = SYSTEM_CLOCK,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the parts.

        Args:
            infer: Asks the gateway once.
            question: What it asks, and how often.
            on_retry: Called with the reason before an attempt is repeated.
            in_flight_max: How many images may be asked about at once, at most.
            clock: Tells how long answers take.
            pause: Waits a number of seconds.
        """
        self._infer = infer
        self._question = question
        self._on_retry = on_retry
        self._pause = pause
        self._clock = clock
        self._asking = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.pace = RecordPace(question.timeout_s, in_flight_max)
        """How many images are asked about at once; further ones wait here, and no time runs."""

        self.problem = ""
        """What stands in the way of the latest attempt; empty where nothing does."""

    async def ask(self, image: bytes, idempotency_key: str) -> InferResult:
        """Return the answer, however long it takes.

        Raises:
            ArnoError: The image is given up: no attempt will answer it.
        """
        counted = 0
        pause_s = _PAUSE_S_MIN
        while True:
            try:
                result = await self._ask_once(image, idempotency_key)
            except ArnoError as error:
                counted += error.code in _COUNTED
                if _hopeless(error) or counted >= self._question.attempts_max:
                    raise
                self._note(error)
                delay_s = float(error.metadata.get("retry_delay_s", 0))
                # Spread, so that what failed together does not come back together.
                await self._pause(max(delay_s, pause_s) * random.uniform(0.8, 1.2))  # noqa: S311
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)
            else:
                self.problem = ""
                return result

    async def _ask_once(self, image: bytes, idempotency_key: str) -> InferResult:
        await self._enter()
        began_s = self._clock.monotonic_s()
        try:
            result = await self._infer(image, idempotency_key)
        except ArnoError as error:
            if error.code is Code.DEADLINE_EXCEEDED:
                self.pace.learn(self._question.timeout_s, self._clock.monotonic_s())
            raise
        else:
            now_s = self._clock.monotonic_s()
            self.pace.learn(now_s - began_s, now_s)
            return result
        finally:
            self._leave()

    async def _enter(self) -> None:
        """Wait until one more may be asked about: attempts that are repeated, too."""
        if self._asking < self.pace.in_flight_max and not self._waiting:
            self._asking += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        self._asking -= 1
        while self._waiting and self._asking < self.pace.in_flight_max:
            turn = self._waiting.popleft()
            if not turn.done():
                self._asking += 1
                turn.set_result(None)

    def _note(self, error: ArnoError) -> None:
        self._on_retry(error.reason)
        if self.problem != error.message:
            logger.warning("the gateway does not answer: %s; it is asked again", error.message)
        self.problem = error.message


def _hopeless(error: ArnoError) -> bool:
    if error.code is Code.ABORTED:
        return True
    return isinstance(error, InvalidFieldError) and error.field.startswith(_OF_THE_IMAGE)
