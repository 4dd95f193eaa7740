"""The file of API keys: its form, and how it is read and replaced.

    {
      "version": 1,
      "tenants": {"acme": {"requests_per_s": 50, "jobs_in_flight": 200, "bytes_in_flight": 1e8}},
      "keys": [{"id": "k7m2q9xw", "tenant": "acme", "sha256": "...", "created_at": "..."}]
    }

Quotas belong to a tenant and not to a key, so that a second key doubles nothing.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from arno.errors import ConfigurationError
from arno.gateway.access.api_key import ID_PATTERN

_FILE_BYTES_MAX: Final = 16 * 1024 * 1024
_FAULTS_SHOWN_MAX: Final = 5

TenantName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TenantLimits(_Part):
    """What a tenant may take.

    None is no limit of `requests_per_s`; of `stored_bytes` it is the setting
    `tenant_stored_bytes_max`, of all others a part of the gateway's own limit, `tenant_open_share`.
    """

    requests_per_s: float | None = Field(default=None, gt=0)
    jobs_in_flight: int | None = Field(default=None, ge=1)
    bytes_in_flight: int | None = Field(default=None, ge=1)
    calls_open: int | None = Field(default=None, ge=1)
    streams_open: int | None = Field(default=None, ge=1)
    stored_bytes: int | None = Field(default=None, ge=1)


class KeyEntry(_Part):
    """What is kept of a key."""

    id: str = Field(pattern=ID_PATTERN)
    tenant: TenantName
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    note: str = Field(default="", max_length=200)


class KeyFile(_Part):
    """All keys and all quotas."""

    version: Literal[1] = 1
    tenants: dict[TenantName, TenantLimits] = Field(default_factory=dict)
    keys: tuple[KeyEntry, ...] = ()

    @field_validator("keys")
    @classmethod
    def _ids_differ(cls, keys: tuple[KeyEntry, ...]) -> tuple[KeyEntry, ...]:
        ids = [entry.id for entry in keys]
        twice = (
            sorted({one for one in ids if ids.count(one) > 1}) if len(set(ids)) < len(ids) else []
        )
        if twice:
            raise ValueError(f"two keys have the id {twice[0]}")
        return keys


def read_key_file(path: Path) -> KeyFile:
    """Return what the file says.

    Raises:
        ConfigurationError: It cannot be read, or says something else; digests are not repeated.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"keys file {path}: {error.strerror or error}") from error
    if len(text) > _FILE_BYTES_MAX:
        raise ConfigurationError(f"keys file {path}: larger than {_FILE_BYTES_MAX} bytes")
    try:
        return KeyFile.model_validate_json(text)
    except ValidationError as error:
        raise ConfigurationError(f"keys file {path}: {_faults(error)}") from None


def change_key_file(path: Path, change: Callable[[KeyFile], KeyFile]) -> KeyFile:
    """Replace the file by what ``change`` makes of it, whole or not at all; return the new one.

    A file that is not there yet counts as empty, and is made readable by its owner alone. Two
    changes at once wait for one another.

    Raises:
        ConfigurationError: It cannot be read or written.
    """
    path = path.resolve()
    try:
        # The folder is locked, not the file: the file is another one after every change.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            changed = change(read_key_file(path) if path.exists() else KeyFile())
            # Without what is not set: an older gateway refuses a file with limits unknown to it.
            _replace(path, changed.model_dump_json(indent=2, exclude_none=True) + "\n")
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigurationError(f"keys file {path}: {error.strerror or error}") from error
    return changed


def _replace(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".keys-", delete=False) as file:
        arriving = Path(file.name)
        try:
            if path.exists():
                # The gateway may be another user, who reads it through the group.
                status = path.stat()
                os.fchmod(file.fileno(), status.st_mode & 0o777)
                os.fchown(file.fileno(), -1, status.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            arriving.replace(path)
        except BaseException:
            arriving.unlink(missing_ok=True)
            raise


def _faults(error: ValidationError) -> str:
    # Not pydantic's own text: it repeats what was sent.
    found = error.errors(include_input=False, include_url=False)
    lines = [
        f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}"
        for fault in found[:_FAULTS_SHOWN_MAX]
    ]
    more = len(found) - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")
