"""Every command of Arno that the runbooks name does what they say, on a real installation."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from arno.bus import DEAD_LETTERS, Record
from arno.bus.v1.records_pb2 import DeadJob
from arno.cli.main import root
from arno.client import AsyncClient, TaskRequest
from click.testing import CliRunner, Result
from support.bus_load import publish_all
from support.images import png
from support.job_client import job_record

_PAGE = Path(__file__).parents[3] / "docs" / "runbooks.md"
COMMANDS = sorted(set(re.findall(r"`arno ([a-z][^`]+)`", _PAGE.read_text())))


@pytest.fixture
async def installation(arno, worker, keys, tmp_path):
    """The words of the page, and the environment of an operator of a running gateway."""
    record = job_record(image=png(33, 21))
    value = DeadJob(job=record, channel="interactive").SerializeToString()
    await asyncio.to_thread(publish_all, arno.settings, [Record(DEAD_LETTERS, value)])
    keys.key("acme")
    address = f"127.0.0.1:{arno.gateway.port}"
    async with AsyncClient(address) as client:
        job = await client.submit(png(), TaskRequest("CAPTION"))
        await client.wait(job.id, timeout_s=30)
    settings = arno.settings
    variables = {
        **{"ARNO_BUS": "redis", "ARNO_REDIS_URL": settings.redis_url, "ARNO_ADDRESS": address},
        **{"ARNO_TOPIC_PREFIX": settings.topic_prefix, "ARNO_KEYS_FILE": str(keys.path)},
        **{"ARNO_REDIS_KEY_PREFIX": settings.redis_key_prefix},
    }
    words = {
        **{
            "TENANT": "acme",
            "URL": settings.redis_url,
            "NAME": "tiny",
            "DIR": "tiny",
            "JOB": job.id,
        },
        # Nothing listens there, and the doctor says so.
        "HOST:PORT": "127.0.0.1:9",
    }
    return words, variables


def run(words: list[str], variables: dict[str, str]) -> Result:
    return CliRunner(env=variables).invoke(root, words, input="y\n")


@pytest.mark.parametrize("line", COMMANDS)
async def test_command_of_a_runbook_runs(line: str, installation, keys, tmp_path) -> None:
    words, variables = installation
    listed = await asyncio.to_thread(run, ["dead", "list", "--json"], variables)
    (letter,) = re.findall(r'"id": ?"([^"]+)"', listed.output)
    file = keys.path if line.startswith("keys") else tmp_path / "image.png"
    known = {**words, "LETTER": letter, "FILE": str(file)}
    asked = [known.get(word, word) for word in shlex.split(line)]
    if line == "job delete":
        asked.append(known["JOB"])
    done = await asyncio.to_thread(run, asked, variables)
    assert done.exit_code == 0, done.output
    # The doctor that was sent to a Kafka that is not there finds just that.
    assert ("FAIL" in done.output) == ("HOST:PORT" in line), done.output
    if line.startswith("dead show"):
        assert file.read_bytes() == png(33, 21)
