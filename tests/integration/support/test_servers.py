"""The servers that tests use keep what they acknowledged, and go when their test run goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from support.availability import require
from support.eventually import eventually
from support.redis_server import WAYS_TO_GET_IT, RedisServer, redis_executables

TESTS = Path(__file__).parents[2]

# What a test run does, without pytest: start a server, print its process id, and wait.
RUN = """
import pathlib, signal, sys
from support.redis_server import RedisServer
# A run in the background of a shell inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
server = RedisServer(*map(pathlib.Path, sys.argv[1:]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.redis
def test_killed_server_comes_back_with_what_it_acknowledged(own_redis_server: RedisServer) -> None:
    with redis.Redis.from_url(own_redis_server.url) as client:
        client.set("kept", "yes")
        own_redis_server.restart_after_kill()
        assert client.get("kept") == b"yes"


@pytest.mark.redis
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_server_dies_with_the_run_that_started_it(tmp_path: Path, end: signal.Signals) -> None:
    executables = redis_executables()
    require(executables, WAYS_TO_GET_IT)
    command = [sys.executable, "-c", RUN, str(tmp_path), str(next(iter(executables.values())))]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as run:
        assert run.stdout is not None
        server_pid = int(run.stdout.readline())
        assert _alive(server_pid)
        run.send_signal(end)
        run.wait()
    eventually(lambda: not _alive(server_pid), what="the server is gone")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
