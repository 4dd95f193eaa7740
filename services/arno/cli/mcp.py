"""`arno mcp`: tools with which agents see, over the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path

import click

from arno.cli.connecting import Connection, connection_options
from arno.cli.servers import KNOWN_SETTINGS
from arno.client import DEFAULT_ADDRESS
from arno.ops.flags import settings_options
from arno.ops.help_sections import SectionedCommand
from arno.ops.logs import configure_logs
from arno.web.settings import WebSettings


@click.command("mcp", cls=SectionedCommand)
@click.option(
    "--http/--stdio",
    default=False,
    help="Serve HTTP at /mcp of --web-listen, or standard input and output.  [default: stdio]",
)
@click.option(
    "--folder",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder whose images may be read by path; may be repeated.  "
    "[default: the current folder over stdio, none over HTTP]",
)
@settings_options(WebSettings, process="web", known_elsewhere=KNOWN_SETTINGS)
@connection_options(default=DEFAULT_ADDRESS)
def verb(settings: WebSettings, gateway: Connection, http: bool, folders: tuple[Path, ...]) -> None:
    """Give agents tools to see: caption, detect, ground, segment, read, look at a region, ask.

    Images are files below --folder, or data URLs; addresses are never fetched. Over HTTP, callers'
    API keys go on to the gateway.

    \b
    Examples:
      arno mcp --folder ~/Pictures
      arno mcp --http --web-listen 127.0.0.1:8090
    """
    from arno.web.image_files import ImageFiles
    from arno.web.main import run
    from arno.web.mcp_server import make_mcp_server, over_http

    readable = folders or (() if http else (Path.cwd(),))
    files = ImageFiles(readable, bytes_max=settings.web_body_bytes_max)
    server = make_mcp_server(gateway.async_client, files, timeout_s=settings.web_timeout_s)
    if http:
        run(settings, over_http(server, settings), process="mcp")
        return
    # Standard output belongs to the protocol; logs go to standard error.
    configure_logs("mcp", level=settings.log_level, log_format=settings.log_format)
    server.run("stdio")
