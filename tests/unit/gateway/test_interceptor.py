"""What becomes of a call whose caller leaves."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from arno.gateway.interceptor import _write


class Gone:
    """The context of a call whose connection broke while a response was written."""

    async def write(self, response: object) -> None:
        raise grpc.aio.InternalError('Failed "execute_batch"')


async def test_response_to_a_caller_that_has_left_ends_the_call_as_cancelled_and_not_as_a_fault():
    with pytest.raises(asyncio.CancelledError):
        await _write(Gone(), "answer")
