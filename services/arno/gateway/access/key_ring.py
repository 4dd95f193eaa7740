"""The valid keys: the keys file as it was last read without an error."""

from __future__ import annotations

import logging
from pathlib import Path

from arno.errors import ConfigurationError, UnauthenticatedError
from arno.gateway.access.api_key import read_key
from arno.gateway.access.key_file import KeyEntry, KeyFile, TenantLimits, read_key_file
from arno.gateway.calls import Caller
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.ops.watched_file import WatchedFile

logger = logging.getLogger(__name__)

_NO_LIMITS = TenantLimits()


class KeyRing:
    """Holds keys and quotas of one file, and checks at an interval whether it has changed.

    If the file becomes unreadable, the keys read before stay valid; the log and
    `arno_gateway_keys_file_ok` show it. Lives in one asyncio loop.
    """

    def __init__(
        self,
        path: Path,
        *,
        check_interval_s: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Read the file.

        Raises:
            ConfigurationError: It is invalid. Only fatal at the start.
        """
        self._check_interval_s = check_interval_s
        self._clock = clock
        self._checked_s = clock.monotonic_s()
        self._problem = ""
        self._file = WatchedFile([path], lambda: read_key_file(path))
        self._take(self._file.value)

    @property
    def ok(self) -> bool:
        """Whether the file was valid when it was last checked."""
        return not self._problem

    def authenticate(self, text: str) -> Caller:
        """Return the owner of a key.

        Raises:
            UnauthenticatedError: The key is unknown, revoked or expired. Not retryable.
        """
        self._refresh()
        key = read_key(text)
        entry = None if key is None else self._entries.get(key.id)
        if key is None or entry is None or not key.matches(entry.sha256):
            raise UnauthenticatedError("this API key is not known here", problem="unknown")
        self._require_live(entry)
        return Caller(entry.tenant, key_id=entry.id, key_sha256=entry.sha256)

    def recheck(self, caller: Caller) -> None:
        """Return if the caller's key is still valid: a stream may outlive it.

        Raises:
            UnauthenticatedError: It was revoked, expired, removed, or replaced by another one, or
                one of another tenant, with its id.
        """
        self._refresh()
        entry = self._entries.get(caller.key_id)
        known = entry is not None and entry.tenant == caller.tenant
        if entry is None or not known or entry.sha256 != caller.key_sha256:
            raise UnauthenticatedError("this API key is not known any more", problem="unknown")
        self._require_live(entry)

    def limits(self, tenant: str) -> TenantLimits:
        """Return the quotas of a tenant."""
        return self._limits.get(tenant, _NO_LIMITS)

    def _require_live(self, entry: KeyEntry) -> None:
        for problem, ended_at in (("revoked", entry.revoked_at), ("expired", entry.expires_at)):
            if ended_at is not None and ended_at.timestamp() * 1000 <= self._clock.wall_ms():
                # Only the holder of the whole key gets this answer.
                raise UnauthenticatedError(
                    f"the API key {entry.id} has been {problem}"
                    if problem == "revoked"
                    else f"the API key {entry.id} has {problem}",
                    problem=problem,
                    key_id=entry.id,
                )

    def _refresh(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._checked_s < self._check_interval_s:
            return
        self._checked_s = now_s
        try:
            changed = self._file.refresh()
        except ConfigurationError as error:
            if error.message != self._problem:
                logger.error("%s; the keys read before stay in force", error.message)
            self._problem = error.message
            return
        if changed:
            self._take(self._file.value)
            logger.info("keys file read again", extra={"key_count": len(self._entries)})
        # Also where the file is again the one that was read before.
        self._problem = ""

    def _take(self, file: KeyFile) -> None:
        self._entries = {entry.id: entry for entry in file.keys}
        self._limits = file.tenants
