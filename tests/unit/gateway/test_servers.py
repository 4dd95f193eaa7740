"""Several servers are one to those who call, and share their port with no other process."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from arno.errors import ConfigurationError
from arno.gateway.server import Servers
from arno.ops.ports import free_port

CONNECTIONS = 64
METHOD = "/test.Test/Name"


def server(name: bytes) -> grpc.aio.Server:
    async def tell(request: bytes, context: Any) -> bytes:
        return name

    handlers = {"Name": grpc.unary_unary_rpc_method_handler(tell)}
    made = grpc.aio.server(options=[("grpc.so_reuseport", 1)])
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
    return made


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    made = Servers([server(b"one"), server(b"two")])
    yield made
    await made.stop(0)


async def answer(port: int) -> bytes:
    # Channels to one address would share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        found: bytes = await channel.unary_unary(METHOD)(b"")
        return found


async def test_connections_are_divided_among_the_servers(servers: Servers) -> None:
    port = servers.listen("127.0.0.1:0")
    await servers.start()
    names = Counter(await asyncio.gather(*(answer(port) for _ in range(CONNECTIONS))))
    assert names.keys() == {b"one", b"two"}


async def test_address_of_other_servers_that_share_theirs_is_refused(servers: Servers) -> None:
    port = servers.listen("127.0.0.1:0")
    others = Servers([server(b"three")])
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: cannot listen there"):
        others.listen(f"127.0.0.1:{port}")
    await others.stop(0)


async def test_machine_that_lacks_a_family_of_addresses_listens_with_the_others(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking, resolve = 9999, socket.getaddrinfo

    def with_both(*asked: Any, **options: Any) -> list[Any]:
        found = resolve(*asked, **options)
        return [(lacking, *found[0][1:]), *found]

    monkeypatch.setattr(socket, "getaddrinfo", with_both)
    port = free_port()
    assert servers.listen(f"localhost:{port}") == port


async def test_address_of_another_process_is_refused(servers: Servers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match="another process"):
            servers.listen(f"127.0.0.1:{port}")
