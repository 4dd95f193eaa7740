"""Every setting of every process: one environment or file may serve them all."""

from __future__ import annotations

from typing import Final

from arno.gateway.settings import GatewaySettings
from arno.training.trainer.settings import TrainSettings
from arno.worker.settings import WorkerSettings

KNOWN_SETTINGS: Final = frozenset(
    # `address` is where the client verbs look for the gateway: ARNO_ADDRESS.
    {
        *GatewaySettings.model_fields,
        *WorkerSettings.model_fields,
        *TrainSettings.model_fields,
        "address",
    }
)
