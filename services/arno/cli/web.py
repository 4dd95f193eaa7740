"""`arno web`: the page, HTTP/JSON and the OpenAI-compatible API, in front of a gateway."""

from __future__ import annotations

import click

from arno.cli.connecting import Connection, connection_options
from arno.cli.servers import KNOWN_SETTINGS
from arno.client import DEFAULT_ADDRESS
from arno.ops.flags import settings_options
from arno.ops.help_sections import SectionedCommand
from arno.web.settings import AppSettings


@click.command("web", cls=SectionedCommand)
@settings_options(AppSettings, process="web", known_elsewhere=KNOWN_SETTINGS)
@connection_options(default=DEFAULT_ADDRESS)
def verb(settings: AppSettings, gateway: Connection) -> None:
    """Serve a page, HTTP/JSON and an OpenAI-compatible API, as a client of a gateway.

    Callers' API keys go on to the gateway; callers without one use this process's, if it was given
    one. Settings come from flags, then ARNO_* variables, then
    the configuration file, then defaults.

    \b
    Examples:
      arno web
      arno web --address gateway.example:50051 --tls --web-listen 127.0.0.1:8080
    """
    from arno.web.main import run_app

    run_app(settings, gateway.async_client)
