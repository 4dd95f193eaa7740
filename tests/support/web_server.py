"""The web process's server in a thread of this process, on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from arno.client import AsyncClient, Tls
from arno.web.app import make_app
from arno.web.main import WebServer, listening
from arno.web.settings import AppSettings
from starlette.types import ASGIApp
from support.background import Background
from support.eventually import eventually


class WebThread(Background):
    """Serves from ``with`` to its end."""

    def __init__(self, settings: AppSettings, app: ASGIApp) -> None:
        super().__init__("web")
        self._settings = settings
        self._server = WebServer(settings, app)
        self.url = ""

    def work(self) -> None:
        with listening(self._settings) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            asyncio.run(self._server.serve(sockets=[listener]))

    def close(self) -> None:
        self._server.stop()
        super().close()

    def await_started(self) -> None:
        eventually(lambda: self._server.started, what="the web server has started")


@contextmanager
def served(make: Callable[[AppSettings], ASGIApp], **fields: object) -> Iterator[str]:
    """Serve an application; give the URL."""
    settings = AppSettings(**{"web_listen": "127.0.0.1:0", **fields})
    with WebThread(settings, make(settings)) as thread:
        thread.await_started()
        yield thread.url


@contextmanager
def web_server(gateway: str, tls: Tls | None = None, **fields: object) -> Iterator[str]:
    """Serve the web process's application in front of a gateway; give the URL."""

    def make(settings: AppSettings) -> ASGIApp:
        return make_app(settings, lambda: AsyncClient(gateway, tls=tls))

    with served(make, **fields) as url:
        yield url
