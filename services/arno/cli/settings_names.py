"""Every setting of every process: one environment or file may serve them all."""

from __future__ import annotations

from typing import Final

from arno.gateway.settings import GatewaySettings
from arno.training.trainer.settings import TrainSettings
from arno.worker.settings import WorkerSettings

CONNECTION_NAMES: Final = frozenset(
    {"address", "tls", "tls_ca", "tls_cert", "tls_key", "api_key", "api_key_file"}
)
"""What tells the client verbs where the gateway is and how to speak to it (`cli/connecting.py`)."""

KNOWN_SETTINGS: Final = frozenset(
    {
        *GatewaySettings.model_fields,
        *WorkerSettings.model_fields,
        *TrainSettings.model_fields,
        *CONNECTION_NAMES,
    }
)
