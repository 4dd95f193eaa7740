"""A real gateway on a free port, over a real redis-server as bus and store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import pytest
from arno.gateway.access.api_key import new_key
from arno.gateway.access.key_file import KeyEntry, KeyFile, TenantLimits, change_key_file
from arno.gateway.settings import GatewaySettings
from support.redis_server import RedisServer
from support.running_gateway import RunningGateway, running
from support.stand_in_worker import StandInWorker


@pytest.fixture
def gateway_settings(
    redis_server: RedisServer, unique_prefix: str
) -> Callable[..., GatewaySettings]:
    def build(**fields: object) -> GatewaySettings:
        return GatewaySettings(
            **{
                "bus": "redis",
                "redis_url": redis_server.url,
                "redis_key_prefix": unique_prefix,
                "topic_prefix": unique_prefix,
                "listen": "127.0.0.1:0",
                "drain_s": 2,
                "backend_check_interval_s": 0.1,
                **fields,
            }
        )

    return build


@pytest.fixture
async def arno(gateway_settings: Callable[..., GatewaySettings]) -> AsyncIterator[RunningGateway]:
    """A gateway with default limits."""
    async with running(gateway_settings()) as gateway:
        yield gateway


@pytest.fixture
def worker(arno: RunningGateway) -> Iterator[StandInWorker]:
    """A worker that answers at once."""
    with StandInWorker(arno.settings) as worker:
        yield worker


@pytest.fixture
def patient_worker(arno: RunningGateway) -> Iterator[StandInWorker]:
    """A worker that takes jobs and leaves their end to the test."""
    with StandInWorker(arno.settings, answers=False) as worker:
        yield worker


@pytest.fixture
def running_gateway() -> Callable[..., AbstractAsyncContextManager[RunningGateway]]:
    """Starts gateways with other limits, or beside one another under other ids."""
    return running


class KeyBook:
    """The keys file of one test, and a key of each tenant."""

    def __init__(self, path) -> None:
        self.path = path
        self.file = KeyFile()

    def key(self, tenant: str, **limits: object) -> list[tuple[str, str]]:
        """Add a key; return the header that shows it."""
        key = new_key()
        made_at = datetime.now(UTC)
        entry = KeyEntry(id=key.id, tenant=tenant, sha256=key.sha256, created_at=made_at)
        tenants = {**self.file.tenants, tenant: TenantLimits(**limits)}
        self._write(KeyFile(tenants=tenants, keys=(*self.file.keys, entry)))
        return [("authorization", f"Bearer {key.text}")]

    def revoke_all(self) -> None:
        self._write(KeyFile())

    def end_key_of(self, tenant: str, **moments: datetime) -> None:
        """Set `revoked_at` or `expires_at` of the keys of a tenant."""
        keys = tuple(
            entry.model_copy(update=moments) if entry.tenant == tenant else entry
            for entry in self.file.keys
        )
        self._write(KeyFile(tenants=self.file.tenants, keys=keys))

    def _write(self, file: KeyFile) -> None:
        self.file = change_key_file(self.path, lambda _: file)


@pytest.fixture
def keys(tmp_path):
    return KeyBook(tmp_path / "keys.json")
