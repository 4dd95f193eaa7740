"""TLS on a real port: who is spoken to, whose certificate is asked for, and rotation."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import grpc
import pytest
from arno.client import Client, Tls
from arno.errors import ConfigurationError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.certificates import Authority


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "certificates")


@pytest.fixture
def server_pair(authority):
    return authority.pair("gateway")


@pytest.fixture
def tls_settings(gateway_settings, server_pair):
    def build(**fields):
        return gateway_settings(
            tls_server_cert=server_pair.certificate, tls_server_key=server_pair.key, **fields
        )

    return build


async def answers(gateway, *, ca=None, pair=None, plain=False) -> bool:
    """Whether a new connection with these files is served."""
    address = f"localhost:{gateway.gateway.port}"
    options = [("grpc.use_local_subchannel_pool", 1)]
    if plain:
        channel = grpc.aio.insecure_channel(address, options=options)
    else:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=ca.read_bytes(),
            private_key=pair and pair.key.read_bytes(),
            certificate_chain=pair and pair.certificate.read_bytes(),
        )
        channel = grpc.aio.secure_channel(address, credentials, options=options)
    async with channel:
        try:
            await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=10
            )
        except grpc.aio.AioRpcError as error:
            return error.code() is not grpc.StatusCode.UNAVAILABLE
    return True


async def test_only_encrypted_calls_are_answered(tls_settings, running_gateway, authority):
    async with running_gateway(tls_settings()) as gateway:
        assert await answers(gateway, ca=authority.ca)
        assert not await answers(gateway, plain=True)


async def test_client_that_does_not_trust_the_authority_hangs_up(
    tls_settings, running_gateway, tmp_path
):
    stranger = Authority(tmp_path / "elsewhere", "stranger")
    async with running_gateway(tls_settings()) as gateway:
        assert not await answers(gateway, ca=stranger.ca)


async def test_mutual_tls_answers_only_holders_of_a_certificate(
    tls_settings, running_gateway, authority, tmp_path
):
    stranger = Authority(tmp_path / "elsewhere", "stranger").pair("guest")
    async with running_gateway(tls_settings(tls_client_ca=authority.ca)) as gateway:
        assert await answers(gateway, ca=authority.ca, pair=authority.pair("guest"))
        assert not await answers(gateway, ca=authority.ca)
        assert not await answers(gateway, ca=authority.ca, pair=stranger)


async def test_certificate_is_replaced_under_a_running_gateway(
    tls_settings, running_gateway, authority, server_pair, tmp_path, caplog
):
    newer = Authority(tmp_path / "newer", "newer")
    async with running_gateway(tls_settings()) as gateway:
        assert await answers(gateway, ca=authority.ca)
        pair = newer.pair("gateway")
        with caplog.at_level(logging.INFO):
            # Between the two files: the new key does not fit the old certificate.
            pair.key.replace(server_pair.key)
            assert await answers(gateway, ca=authority.ca)
            assert "the certificate read before stays in use" in caplog.text
            pair.certificate.replace(server_pair.certificate)
            assert await answers(gateway, ca=newer.ca)
            assert not await answers(gateway, ca=authority.ca)
        assert "certificate read again" in caplog.text
        server_pair.certificate.unlink()
        assert await answers(gateway, ca=newer.ca)


async def test_authority_of_clients_is_replaced_under_a_running_gateway(
    tls_settings, running_gateway, authority, tmp_path
):
    newer = Authority(tmp_path / "newer", "newer")
    old, new = authority.pair("guest"), newer.pair("guest")
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(authority.ca.read_bytes())
    async with running_gateway(tls_settings(tls_client_ca=trusted)) as gateway:
        assert await answers(gateway, ca=authority.ca, pair=old)
        assert not await answers(gateway, ca=authority.ca, pair=new)
        trusted.write_bytes(newer.ca.read_bytes())
        assert await answers(gateway, ca=authority.ca, pair=new)
        assert not await answers(gateway, ca=authority.ca, pair=old)


async def test_client_speaks_mutual_tls(tls_settings, running_gateway, authority):
    guest = authority.pair("guest")
    tls = Tls(authority.ca, certificate=guest.certificate, private_key=guest.key)
    async with running_gateway(tls_settings(tls_client_ca=authority.ca)) as gateway:

        def ready(tls):
            with Client(f"127.0.0.1:{gateway.gateway.port}", tls=tls) as client:
                return client.ready(timeout_s=5)

        assert await asyncio.to_thread(ready, tls)
        assert not await asyncio.to_thread(ready, Tls(authority.ca))
        assert not await asyncio.to_thread(ready, None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tls_server_key": None}, "give both"),
        ({"tls_server_cert": None}, "give both"),
        ({"tls_server_cert": Path("absent.pem")}, "absent.pem: No such file"),
        ({"tls_server_key": "other"}, "do not fit together"),
        ({"tls_server_cert": "text"}, "text with .*: not the PEM file that belongs here"),
        ({"tls_client_ca": "text"}, "text: not the PEM file that belongs here"),
    ],
)
async def test_files_that_cannot_be_used_stop_the_start(
    tls_settings, running_gateway, authority, tmp_path, fields, said
):
    text = tmp_path / "text"
    text.write_text("hello")
    files = {"other": authority.pair("other").key, "text": text}
    given = {name: files.get(value, value) for name, value in fields.items()}
    settings = tls_settings().model_copy(update=given)
    with pytest.raises(ConfigurationError, match=said):
        async with running_gateway(settings):
            pass
