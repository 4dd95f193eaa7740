"""A TCP proxy in front of a server, which is a bad network when a test says so."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Iterator


class TcpProxy:
    """Forwards bytes on the loopback interface. Lives in the test's asyncio loop.

    Attributes:
        port: Where it listens.
        connection_count: Connections opened so far.
        cut_count: Connections broken so far.
        refusing: Whether new connections are broken at once.
        delay_s: How long every piece is held back.
    """

    def __init__(self, target_port: int, *, port: int = 0) -> None:
        self.port = port
        self.connection_count = 0
        self.cut_count = 0
        self.refusing = False
        self.delay_s = 0.0
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._muted: set[asyncio.StreamWriter] = set()
        self._requests_pass, self._replies_pass = asyncio.Event(), asyncio.Event()
        self.hold()

    async def __aenter__(self) -> TcpProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break every connection at once; what is on its way is lost."""
        for writers in self._sessions.values():
            self.cut_count += 1
            for writer in writers:
                writer.transport.abort()

    def mute(self) -> None:
        """Swallow what is said on the present connections, as a router does that forgot them."""
        for writers in self._sessions.values():
            self._muted.update(writers)

    def hold(self, *, requests: bool = False, replies: bool = False) -> None:
        """Keep back one direction, or let both pass; what was kept back arrives then."""
        for passes, held in ((self._requests_pass, requests), (self._replies_pass, replies)):
            passes.clear() if held else passes.set()

    def half_close(self) -> None:
        """Tell every client that the server says no more, while the client may go on talking."""
        for writers in self._sessions.values():
            with contextlib.suppress(OSError):
                writers[0].write_eof()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count += 1
        session = asyncio.current_task()
        assert session is not None
        writers = self._sessions[session] = [writer]
        try:
            if self.refusing:
                return
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(
                    "127.0.0.1", self._target_port
                )
                writers.append(far_writer)
                await asyncio.gather(
                    self._pump(reader, far_writer, self._requests_pass),
                    self._pump(far_reader, writer, self._replies_pass),
                )
        finally:
            for open_writer in writers:
                open_writer.transport.abort()
            self._muted.difference_update(writers)
            del self._sessions[session]

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65_536):
                await passes.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if writer not in self._muted:
                    writer.write(chunk)
                    await writer.drain()
        writer.transport.abort()


@contextlib.contextmanager
def proxy_on_a_thread(target_port: int, *, port: int = 0) -> Iterator[ThreadedProxy]:
    """Run a proxy for tests without a loop of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tcp-proxy")
    thread.start()
    proxy = TcpProxy(target_port, port=port)
    asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(10)
    try:
        yield ThreadedProxy(proxy, loop)
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class ThreadedProxy:
    """A proxy in a loop of its own. Any thread."""

    def __init__(self, proxy: TcpProxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy = proxy
        self._loop = loop
        self.port = proxy.port

    def cut(self) -> None:
        """Break every connection at once."""
        self._loop.call_soon_threadsafe(self._proxy.cut)

    def half_close(self) -> None:
        """End what the server says on every connection."""
        self._loop.call_soon_threadsafe(self._proxy.half_close)

    def mute(self) -> None:
        """Swallow what is said on the present connections."""
        self._loop.call_soon_threadsafe(self._proxy.mute)

    def hold(self, *, requests: bool = False, replies: bool = False) -> None:
        """Keep back one direction, or let both pass again."""
        hold = functools.partial(self._proxy.hold, requests=requests, replies=replies)
        self._loop.call_soon_threadsafe(hold)

    def set(self, *, refusing: bool = False, delay_s: float = 0.0) -> None:
        """Say how bad the network is from now on."""
        self._proxy.refusing, self._proxy.delay_s = refusing, delay_s
