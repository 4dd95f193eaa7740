"""Identify the caller of each call from its method and headers, and check its key and its rate.

Health is always open: probes have no key. Reflection is as the settings say. Every other method
needs a key once there is a keys file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Final

from arno.errors import UnauthenticatedError
from arno.gateway.access.key_ring import KeyRing
from arno.gateway.access.loop_share import LoopShare
from arno.gateway.access.quotas import OpenQuota, TenantQuotas
from arno.gateway.calls import ANONYMOUS, Caller

Metadata = Iterable[tuple[str, str | bytes]]

_HEALTH: Final = "/grpc.health.v1.Health/"
_REFLECTION: Final = "/grpc.reflection."
_BEARER: Final = "bearer "


class _OpenCall:
    """A call that has not ended; `end` cancels its task inside `scope`."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.scope = asyncio.timeout(None)
        self.problem: UnauthenticatedError | None = None

    def end(self, problem: UnauthenticatedError) -> None:
        """Cancel the block. Idempotent: a block that cleans up is not cancelled twice."""
        if self.problem is None:
            self.problem = problem
            self.scope.reschedule(asyncio.get_running_loop().time())


class Gatekeeper:
    """Admits calls. Lives in one asyncio loop."""

    def __init__(
        self,
        keys: KeyRing | None,
        quotas: TenantQuotas,
        *,
        loop_share: LoopShare | None = None,
        reflection_open: bool = True,
    ) -> None:
        """Take the keys, or None where no key is needed; without a share no call waits."""
        self._keys = keys
        self._loop_share = loop_share
        self._quotas = quotas
        self._reflection_open = reflection_open
        self._open: set[_OpenCall] = set()

    def identify(self, path: str, metadata: Metadata) -> Caller:
        """Return the identity of a caller.

        Args:
            path: "/package.Service/Method".
            metadata: The headers of the call.

        Raises:
            UnauthenticatedError: There is no valid key in the headers.
        """
        if self._keys is None or self._is_open(path):
            return ANONYMOUS
        return self._keys.authenticate(_shown_key(metadata))

    def admit(self, caller: Caller) -> None:
        """Count a call, or a frame of a stream that may have begun long ago.

        Raises:
            UnauthenticatedError: The caller's key is no longer valid.
            QuotaExceededError: Its tenant has used up its rate. Retryable.
        """
        if self._keys is not None and caller.key_id:
            self._keys.recheck(caller)
            self._quotas.spend_request(caller.tenant)

    async def turn(self, caller: Caller) -> None:
        """Wait until the event loop has time for a call, or a frame, of the caller's tenant.

        Raises:
            OverloadedError: The tenant takes too much of it for too long. Retryable.
        """
        if self._loop_share is not None and caller.key_id:
            await self._loop_share.turn(caller.tenant)

    def hold_open(self, caller: Caller, quota: OpenQuota) -> AbstractContextManager[None]:
        """Count a call, or a stream, of the caller's tenant as open for as long as the block runs.

        Raises:
            QuotaExceededError: The tenant has as many open as it may have. Retryable.
        """
        return self._quotas.hold_open(caller.tenant, quota) if caller.key_id else nullcontext()

    @asynccontextmanager
    async def while_valid(self, caller: Caller) -> AsyncIterator[None]:
        """Run the block of a call until it ends, or until its key is no longer valid.

        Raises:
            UnauthenticatedError: The key was revoked, expired or removed; the block was cancelled.
        """
        if self._keys is None or not caller.key_id:
            yield
            return
        call = _OpenCall(caller)
        self._open.add(call)
        try:
            async with call.scope:
                yield
        except TimeoutError:
            if call.problem is not None:
                raise call.problem from None
            raise
        finally:
            self._open.discard(call)

    async def end_invalid_calls(self) -> None:
        """End the open calls whose keys are no longer valid; to be run at an interval."""
        if self._keys is None:
            return
        for call in self._open:
            try:
                self._keys.recheck(call.caller)
            except UnauthenticatedError as error:
                call.end(error)

    def _is_open(self, path: str) -> bool:
        return path.startswith(_HEALTH) or (self._reflection_open and path.startswith(_REFLECTION))


def _shown_key(metadata: Metadata) -> str:
    shown = [text for name, value in metadata if (text := _key_of(name, value)) is not None]
    if len(shown) != 1:
        problem = "missing" if not shown else "ambiguous"
        found = "no API key" if not shown else "more than one API key"
        raise UnauthenticatedError(
            f"{found}; send one, as `authorization: Bearer KEY` or as `x-api-key: KEY`",
            problem=problem,
        )
    return shown[0]


def _key_of(name: str, value: str | bytes) -> str | None:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if name == "x-api-key":
        return text.strip()
    if name == "authorization":
        bearer = text[: len(_BEARER)].lower() == _BEARER
        return text[len(_BEARER) :].strip() if bearer else ""
    return None
