"""Where jobs come in: past the tenant's quota, the gateway's budget, and backends that answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from arno.gateway.access.quotas import TenantQuotas
from arno.gateway.admission import Admission, Ask
from arno.gateway.backends import BackendMonitor


class Entrance:
    """Lets jobs in, or says why not. Lives in one asyncio loop; never waits."""

    def __init__(
        self, *, quotas: TenantQuotas, admission: Admission, backends: BackendMonitor
    ) -> None:
        """Take who is asked, in this order: what concerns one tenant costs the others nothing."""
        self._quotas = quotas
        self._admission = admission
        self._backends = backends

    @contextmanager
    def enter(self, tenant: str, ask: Ask) -> Iterator[None]:
        """Hold a place for one job for as long as the block runs.

        Args:
            tenant: Whose job it is.
            ask: How much room it needs.

        Raises:
            QuotaExceededError: The tenant has as much in flight as it may. Retryable.
            OverloadedError: So has the gateway. Retryable.
            BackendUnavailableError: The bus or the store is away. Retryable.
        """
        with self._quotas.hold(tenant, ask.size_bytes), self._admission.admit(ask):
            self._backends.require()
            yield

    def keep(self, ask: Ask) -> Callable[[], None]:
        """Count an image that waits to be let in; return what takes it off again, for one call.

        Raises:
            OverloadedError: The gateway holds as many bytes as it may. Retryable.
        """
        return self._admission.keep(ask)
