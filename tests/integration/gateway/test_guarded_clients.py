"""Clients, the command line and `arno doctor` before a gateway with TLS and keys."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from arno.cli.main import root
from arno.client import AsyncClient, Client, Tls
from arno.errors import ConfigurationError, UnauthenticatedError, UnavailableError
from arno.gateway.access.api_key import new_key
from arno.gateway.access.key_file import KeyEntry, KeyFile, change_key_file
from click.testing import CliRunner
from support import images
from support.certificates import Authority
from support.stand_in_worker import StandInWorker


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "certificates")


@pytest.fixture
def key():
    return new_key()


@pytest.fixture
async def guarded(tmp_path, authority, key, gateway_settings, running_gateway):
    entry = KeyEntry(
        id=key.id, tenant="acme", sha256=key.sha256, created_at=datetime.now(UTC), note="test"
    )
    keys_file = tmp_path / "keys.json"
    change_key_file(keys_file, lambda _: KeyFile(keys=(entry,)))
    pair = authority.pair("gateway")
    settings = gateway_settings(
        tls_server_cert=pair.certificate,
        tls_server_key=pair.key,
        tls_client_ca=authority.ca,
        keys_file=keys_file,
    )
    async with running_gateway(settings) as gateway:
        yield gateway


@pytest.fixture
def worker(guarded):
    with StandInWorker(guarded.settings) as worker:
        yield worker


@pytest.fixture
def address(guarded):
    return f"localhost:{guarded.gateway.port}"


@pytest.fixture
def guest(authority):
    pair = authority.pair("guest")
    return Tls(authority.ca, certificate=pair.certificate, private_key=pair.key)


@pytest.fixture
def arno(address, tmp_path):
    """Run the command line with variables, in a thread."""

    def run(words, variables):
        environment = {"ARNO_ADDRESS": address, **variables}
        return CliRunner(env=environment).invoke(root, words)

    async def call(*words, **variables):
        return await asyncio.to_thread(run, words, variables)

    return call


def variables_of(tls):
    return {
        "ARNO_TLS_CA": str(tls.root_certificates),
        "ARNO_TLS_CERT": str(tls.certificate),
        "ARNO_TLS_KEY": str(tls.private_key),
    }


async def test_both_clients_show_the_key_with_every_kind_of_call(address, guest, key, worker):
    def all_calls():
        with Client(address, tls=guest, api_key=key.text) as client:
            client.infer(images.png(), "CAPTION")
            assert len(list(client.infer_stream([images.png()] * 2, "CAPTION"))) == 2
            job = client.submit(images.png(), "CAPTION")
            assert client.wait(job.id).ended
            client.cancel(job.id)
            client.delete(job.id)

    await asyncio.to_thread(all_calls)
    async with AsyncClient(address, tls=guest, api_key=key.text) as client:
        await client.infer(images.png(), "CAPTION")
        frames = [one async for one in client.infer_stream([images.png()] * 2, "CAPTION")]
        assert [frame.sequence for frame in frames] == [0, 1]
        job = await client.submit(images.png(), "CAPTION")
        assert (await client.wait(job.id)).ended
        await client.delete(job.id)
    assert {record.tenant for record in worker.taken} == {"acme"}


async def test_client_without_what_it_needs_hears_what(address, guest, authority):
    async with AsyncClient(address, tls=guest) as client:
        with pytest.raises(UnauthenticatedError, match="no API key"):
            await client.get("j")
    async with AsyncClient(address, tls=Tls(authority.ca), timeout_s=30) as client:
        with pytest.raises(UnavailableError):
            await client.get("j")


@pytest.mark.parametrize("text", ["line\nbreak", "ключ"])
def test_text_that_cannot_stand_in_a_header_is_refused_and_not_repeated(text):
    with pytest.raises(ConfigurationError) as caught:
        Client("127.0.0.1:1", api_key=text)
    assert text not in str(caught.value)


async def test_command_line_takes_certificates_and_key_from_variables(
    arno, guest, key, worker, tmp_path
):
    (tmp_path / "photo.png").write_bytes(images.png())
    (tmp_path / "key").write_text(f"{key.text}\n")
    words = ["infer", str(tmp_path / "photo.png"), "--task", "CAPTION", "--json"]
    done = await arno(*words, **variables_of(guest), ARNO_API_KEY=key.text)
    assert "CAPTION" in done.stdout, done.output
    done = await arno(*words, "--api-key-file", str(tmp_path / "key"), **variables_of(guest))
    assert "CAPTION" in done.stdout, done.output
    done = await arno(*words, **variables_of(guest))
    assert "no API key" in done.stderr
    assert key.text not in done.output


async def gateway_finding(arno, folder, **variables):
    done = await arno("doctor", "--json", "--data", str(folder), **variables)
    findings = [json.loads(line) for line in done.output.splitlines()]
    return next(one for one in findings if one["subject"] == "gateway")


async def test_doctor_says_what_a_guarded_gateway_lacks_from_us(arno, guest, key, tmp_path):
    good = {**variables_of(guest), "ARNO_API_KEY": key.text}
    ready = await gateway_finding(arno, tmp_path, **good)
    # The certificate of the test lives for a day.
    assert (ready["level"], "ends in 1 days" in ready["found"]) == ("WARN", True)
    no_key = await gateway_finding(arno, tmp_path, **variables_of(guest))
    assert (no_key["level"], "no API key" in no_key["found"]) == ("FAIL", True)
    plain = await gateway_finding(arno, tmp_path)
    assert plain["level"] == "FAIL"
    assert "speaks TLS" in plain["found"]
    strange = Authority(tmp_path / "elsewhere", "stranger")
    distrust = await gateway_finding(arno, tmp_path, ARNO_TLS_CA=str(strange.ca))
    assert "refuses the TLS handshake: unable to get local issuer" in distrust["found"]
