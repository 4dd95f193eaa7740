"""`arno gateway`: run the gRPC server."""

from __future__ import annotations

import click

from arno.cli.settings_names import KNOWN_SETTINGS
from arno.gateway.settings import GatewaySettings
from arno.ops.flags import settings_options


@click.command("gateway")
@settings_options(GatewaySettings, process="gateway", known_elsewhere=KNOWN_SETTINGS)
def verb(settings: GatewaySettings) -> None:
    """Run the gRPC server: requests in, jobs to the bus, results back.

    Stops in order on SIGTERM or Ctrl-C: calls in hand are answered first. Settings come from flags,
    then ARNO_* variables, then the file, then defaults.

    \b
    Example:
      arno gateway --listen 0.0.0.0:50051 --kafka-bootstrap kafka:9092 \\
          --redis-url redis://redis:6379/0
    """
    from arno.gateway.main import run

    run(settings)
