"""Send mutated requests to a gateway: each ends, soon, with a code that blames the caller."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
from fuzz.mutations import mutated
from fuzz.seeds import call_seeds, stream_seeds

SLOW_S = 1.0
_TIMEOUT_S = 10.0
_CLIENT_FAULT = "Internal error from Core"
"""What grpc.aio makes of writing to a call that the server has ended meanwhile."""

_OUR_FAULTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}
_STREAM = "/arno.api.v1.VisionService/InferStream"
_WATCH = "/arno.api.v1.JobService/WatchJob"

_RAW = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + b"\0\0\6\4\0\0\0\0\0\0\4\0\0\xff\xff"
    + b"\0\0\1\1\5\0\0\0\1\x82",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(64),
)
"""What is said before any call: HTTP/2 with and without a header, HTTP/1, TLS."""


@dataclass(slots=True)
class CallReport:
    """How the calls ended.

    Attributes:
        codes: How often each code.
        faults: Calls that ended as none may, with the number of the mutation.
        slowest_s: The longest that one took.
        slowest: Its number.
        slow: The numbers of those that took longer than a second.
    """

    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = -1
    slow: list[int] = field(default_factory=list)

    def note(self, number: int, code: grpc.StatusCode | None, took_s: float, said: str) -> None:
        """Note the end of a call; without a code it was no call at all."""
        ended = "ENDED EARLY" if said == _CLIENT_FAULT else code.name if code else "RAW"
        self.codes[ended] += 1
        if code in _OUR_FAULTS and said != _CLIENT_FAULT:
            self.faults.append(f"call {number}: {code.name}: {said}")
        if took_s > SLOW_S:
            self.slow.append(number)
        if took_s > self.slowest_s:
            self.slowest_s, self.slowest = took_s, number


class CallFuzzer:
    """Mutated calls to one gateway, so many at once. Lives in one asyncio loop."""

    def __init__(self, target: str, *, at_once: int = 8) -> None:
        """Take the gateway's address."""
        self.report = CallReport()
        self._target = target
        self._at_once = at_once

    async def run(self, first: int, count: int) -> None:
        """Send the mutations of these numbers."""
        numbers = iter(range(first, first + count))
        async with grpc.aio.insecure_channel(self._target) as channel:
            await asyncio.gather(*(self._send_all(channel, numbers) for _ in range(self._at_once)))

    async def hanging(self) -> list[int]:
        """Return the slow ones that are slow alone as well: on a busy machine any call may be."""
        again = CallFuzzer(self._target, at_once=1)
        for number in self.report.slow:
            await again.run(number, 1)
        return again.report.slow

    async def _send_all(self, channel: grpc.aio.Channel, numbers: Iterator[int]) -> None:
        for number in numbers:
            began_s = time.monotonic()
            code, said = await self._send(channel, number)
            self.report.note(number, code, time.monotonic() - began_s, said)

    async def _send(
        self, channel: grpc.aio.Channel, number: int
    ) -> tuple[grpc.StatusCode | None, str]:
        paths = sorted(call_seeds())
        path = paths[number % (len(paths) + 1) - 1] if number % (len(paths) + 1) else ""
        if not path:
            await _say_raw(self._target, mutated(_RAW, number))
            return None, ""
        content = mutated(call_seeds()[path], number)
        try:
            if path == _STREAM:
                await _drain(channel.stream_stream(path)(_messages(content), timeout=_TIMEOUT_S))
            elif path == _WATCH:
                await _drain(channel.unary_stream(path)(content, timeout=_TIMEOUT_S))
            else:
                await channel.unary_unary(path)(content, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""


def _messages(content: bytes) -> Iterator[bytes]:
    config, frame = stream_seeds()
    # Each number is both: a stream that begins badly, and one that goes on badly.
    return itertools.chain((content,) if len(content) % 2 else (config, content), (frame, frame))


async def _drain(responses: object) -> None:
    async for _ in responses:  # type: ignore[attr-defined]
        pass


async def _say_raw(target: str, content: bytes) -> None:
    host, port = target.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(content)
        await writer.drain()
        async with asyncio.timeout(0.05):
            while await reader.read(4096):
                pass
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
