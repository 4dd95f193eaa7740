"""The pinning of images: what is pinned, by what a registry says, and what is left alone."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
DIGEST = "sha256:" + "ab" * 32


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pin_images", ROOT / "scripts/pin_images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Registry(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        if self.headers.get("Authorization") != "Bearer let-me":
            self.send_response(401)
            host = self.headers["Host"]
            scope = 'service="reg",scope="repository:team/tool:pull"'
            self.send_header("WWW-Authenticate", f'Bearer realm="http://{host}/token",{scope}')
        elif self.path == "/v2/team/tool/manifests/1.2" and "index" in self.headers["Accept"]:
            self.send_response(200)
            self.send_header("Docker-Content-Digest", DIGEST)
        else:
            self.send_response(404)
        self.end_headers()

    def do_GET(self) -> None:
        assert self.path == "/token?service=reg&scope=repository%3Ateam%2Ftool%3Apull"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"token": "let-me"}).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Registry)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_digest_is_what_the_registry_says_to_anybody(script: ModuleType, registry: str) -> None:
    assert script.digest_of(f"{registry}/team/tool", "1.2") == DIGEST


def test_tag_that_the_registry_does_not_know_is_an_error(script: ModuleType, registry: str) -> None:
    with pytest.raises(OSError, match="404"):
        script.digest_of(f"{registry}/team/tool", "9.9")


def test_foreign_images_are_pinned_and_our_own_are_not(script: ModuleType) -> None:
    text = (
        "FROM python:3.11-slim AS build\n"
        f"FROM redis:7.2@sha256:{'0' * 64}\n"
        "    image: arno/gateway:0.1.0\n"
        "    image: quay.io:443/team/tool:v1 # a note\n"
    )
    asked: list[tuple[str, str]] = []

    def resolve(name: str, tag: str) -> str:
        asked.append((name, tag))
        return DIGEST

    assert script.pin(text, resolve) == (
        f"FROM python:3.11-slim@{DIGEST} AS build\n"
        f"FROM redis:7.2@{DIGEST}\n"
        "    image: arno/gateway:0.1.0\n"
        f"    image: quay.io:443/team/tool:v1@{DIGEST} # a note\n"
    )
    assert asked == [("python", "3.11-slim"), ("redis", "7.2"), ("quay.io:443/team/tool", "v1")]


@pytest.mark.parametrize(
    ("name", "host", "path"),
    [
        ("python", "registry-1.docker.io", "library/python"),
        ("apache/kafka", "registry-1.docker.io", "apache/kafka"),
        ("ghcr.io/team/tool", "ghcr.io", "team/tool"),
    ],
)
def test_names_are_read_as_docker_reads_them(
    script: ModuleType, name: str, host: str, path: str
) -> None:
    assert script.registry_of(name) == (host, path)


def test_every_foreign_image_of_the_repository_is_found(script: ModuleType) -> None:
    found: set[str] = set()

    def resolve(name: str, tag: str) -> str:
        found.add(name)
        return DIGEST

    for pattern in script.FILES:
        for path in ROOT.glob(pattern):
            script.pin(path.read_text(), resolve)
    expected = {"python", "redis", "apache/kafka", "prom/prometheus", "grafana/grafana"}
    assert found >= expected


def test_images_of_one_version_are_pinned_alike_in_all_files(script: ModuleType) -> None:
    digests: dict[str, set[str | None]] = {}
    for pattern in script.FILES:
        for path in ROOT.glob(pattern):
            for found in script._IMAGE.finditer(path.read_text()):
                digests.setdefault(found["name"], set()).add(found["digest"])
    for name in ("apache/kafka", "prom/prometheus", "grafana/grafana"):
        assert len(digests[name]) == 1, name
        assert None not in digests[name], name
