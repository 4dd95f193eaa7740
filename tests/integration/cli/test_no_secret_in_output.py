"""Processes that start, fail and log with secrets in all their settings: none is ever written."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from arno.ops.ports import free_port
from support import tied_process
from support.eventually import eventually

SECRET = "hush-0123456789"


def without_settings() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("ARNO_")}


def run(*words: str, **variables: str) -> str:
    """Return everything that a process writes until it ends."""
    done = subprocess.run(
        [sys.executable, "-m", "arno.cli", *words],
        env={**without_settings(), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_gateway_that_cannot_reach_its_store_says_where_and_not_with_what(log_format, tmp_path):
    port = free_port()
    words = ["gateway", "--bus", "redis", "--listen", "127.0.0.1:0", "--log-level", "DEBUG"]
    secrets = {
        "ARNO_REDIS_URL": f"redis://me:{SECRET}@127.0.0.1:{port}/0?password={SECRET}",
        "ARNO_KAFKA_PASSWORD": SECRET,
    }
    log = tmp_path / "gateway.log"
    process = tied_process.start_tied(
        [sys.executable, "-m", "arno.cli", *words, "--log-format", log_format],
        log=log,
        environment={**without_settings(), **secrets},
    )
    try:
        eventually(lambda: f"connecting to 127.0.0.1:{port}" in log.read_text())
    finally:
        tied_process.stop(process, timeout_s=10)
    assert SECRET not in log.read_text()
    # Its settings are there.
    assert f"redis://**********@127.0.0.1:{port}/0?password=**********" in log.read_text()


def test_setting_that_cannot_be_used_is_told_without_its_secret():
    written = run(
        *("gateway", "--bus", "redis"),
        ARNO_REDIS_URL=f"redis://me:{SECRET}@127.0.0.1:1/0",
        ARNO_REDIS_PASSWORD=SECRET,
        ARNO_KEYS_FILE="absent.json",
    )
    assert SECRET not in written
    assert "absent.json" in written or "redis_password" in written


def test_worker_with_a_kafka_password_that_does_not_fit_repeats_nothing():
    written = run(
        *("worker", "--model", "null", "--log-level", "DEBUG"),
        ARNO_KAFKA_SECURITY_PROTOCOL="SSL",
        ARNO_KAFKA_USERNAME="worker",
        ARNO_KAFKA_PASSWORD=SECRET,
    )
    assert SECRET not in written
    assert "kafka_username, kafka_password: need a SASL protocol" in written
