"""`arno gateway`, `arno worker`, `arno ingest`: run one process; the settings that they share."""

from __future__ import annotations

from typing import Final

import click

from arno.dataset.filters.settings import FilterSettings
from arno.gateway.settings import GatewaySettings
from arno.ingest.settings import IngestSettings
from arno.notify.settings import NotifySettings
from arno.ops.flags import settings_options
from arno.ops.help_sections import SectionedCommand
from arno.training.trainer.settings import TrainSettings
from arno.web.settings import AppSettings
from arno.worker.settings import WorkerSettings

CONNECTION_NAMES: Final = frozenset(
    {"address", "tls", "tls_ca", "tls_cert", "tls_key", "api_key", "api_key_file"}
)
"""Settings of the verbs that call a gateway: its address and the connection to it."""

KNOWN_SETTINGS: Final = frozenset(
    {
        *GatewaySettings.model_fields,
        *WorkerSettings.model_fields,
        *TrainSettings.model_fields,
        *FilterSettings.model_fields,
        *AppSettings.model_fields,
        *IngestSettings.model_fields,
        *NotifySettings.model_fields,
        *CONNECTION_NAMES,
    }
)
"""Settings of all processes: one environment or configuration file may serve all of them."""


@click.command("gateway", cls=SectionedCommand)
@settings_options(GatewaySettings, process="gateway", known_elsewhere=KNOWN_SETTINGS)
def gateway(settings: GatewaySettings) -> None:
    """Run the gRPC server: accept requests, put jobs on the bus, return results.

    On SIGTERM or Ctrl-C the gateway answers the calls in flight and then stops. Settings come from
    flags, then ARNO_* variables, then the configuration file, then defaults.

    \b
    Example:
      arno gateway --listen 0.0.0.0:50051 --kafka-bootstrap kafka:9092 \\
          --redis-url redis://redis:6379/0
    """
    from arno.gateway.main import run

    run(settings)


@click.command("worker", cls=SectionedCommand)
@settings_options(WorkerSettings, process="worker", known_elsewhere=KNOWN_SETTINGS)
def worker(settings: WorkerSettings) -> int:
    """Run the model on jobs from the bus; one worker uses one device.

    On SIGTERM or Ctrl-C the worker finishes its jobs or hands them back, and then stops. Settings
    come from flags, then ARNO_* variables, then the configuration file, then defaults.

    \b
    Example:
      arno worker --model ./Florence-2-base-ft --device cuda:0 \\
          --kafka-bootstrap kafka:9092 --redis-url redis://redis:6379/0
    """
    from arno.worker.main import run_worker

    return run_worker(settings)


@click.command("ingest", cls=SectionedCommand)
@settings_options(IngestSettings, process="ingest", known_elsewhere=KNOWN_SETTINGS)
def ingest(settings: IngestSettings) -> int:
    """Read images from topics of Kafka, videos and cameras; write results to topics and files.

    Topics, sources and their tasks stand in the configuration file, TOML or YAML
    (docs/streams.md). An offset is committed once the result is written. On SIGTERM or Ctrl-C
    what is in flight is finished first.

    \b
    Example:
      arno ingest --config streams.yaml --kafka-bootstrap kafka:9092 --address gateway:50051
    """
    from arno.ingest.service import run_ingest

    return run_ingest(settings)


@click.command("notify", cls=SectionedCommand)
@settings_options(NotifySettings, process="notify", known_elsewhere=KNOWN_SETTINGS)
def notify(settings: NotifySettings) -> None:
    """Tell webhooks and topics of Kafka of jobs that have ended.

    The subscriptions stand in the configuration file, TOML or YAML (docs/streams.md). Events are
    delivered at least once; what is not taken for hours is given up and kept.

    \b
    Example:
      arno notify --config events.yaml --redis-url redis://redis:6379/0
    """
    from arno.notify.service import run_notify

    run_notify(settings)
