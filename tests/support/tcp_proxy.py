"""A TCP proxy in front of a server that cuts its connections when a test says so."""

from __future__ import annotations

import asyncio
import contextlib


class TcpProxy:
    """Forwards bytes on the loopback interface. Lives in the test's asyncio loop."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.cut_count = 0
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> TcpProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        assert session is not None
        writers = self._sessions[session] = [writer]
        try:
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(
                    "127.0.0.1", self._target_port
                )
                writers.append(far_writer)
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            for open_writer in writers:
                open_writer.transport.abort()
            del self._sessions[session]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()
