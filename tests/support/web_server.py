"""The web process's server in a thread of this process, on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from arno.client import AsyncClient
from arno.web.main import WebServer, listening
from arno.web.settings import WebSettings
from support.background import Background
from support.eventually import eventually


class WebThread(Background):
    """Serves from ``with`` to its end, in front of the gateway at an address."""

    def __init__(self, gateway: str, **fields: object) -> None:
        super().__init__("web")
        self._settings = WebSettings(**{"web_listen": "127.0.0.1:0", **fields})
        self._server = WebServer(self._settings, lambda: AsyncClient(gateway))
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
def web_server(gateway: str, **fields: object) -> Iterator[str]:
    """Serve in front of a gateway; give the URL."""
    with WebThread(gateway, **fields) as thread:
        thread.await_started()
        yield thread.url
