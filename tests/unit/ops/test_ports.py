"""A port that is chosen for a server is still free when the server binds it."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest
from arno.ops import ports


def test_chosen_ports_differ_and_are_none_that_the_kernel_gives_away() -> None:
    kernels = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    chosen = [ports.free_port() for _ in range(50)]
    assert len(set(chosen)) == len(chosen)
    assert all(port < kernels for port in chosen)


def test_port_in_use_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    used, free = ports.free_port(), ports.free_port()
    with socket.create_server(("127.0.0.1", used)):
        monkeypatch.setattr(ports, "_candidates", lambda: iter([used, free]))
        assert ports.free_port() == free


@pytest.mark.parametrize("said", ["1024 65535\n", "", None])
def test_kernel_that_leaves_no_room_or_does_not_say_gives_a_port_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None
) -> None:
    told = tmp_path / "range"
    if said is not None:
        told.write_text(said)
    monkeypatch.setattr(ports, "_KERNELS_RANGE", told)
    with socket.create_server(("127.0.0.1", ports.free_port())) as server:
        assert server.getsockname()[1] > 0


def test_without_a_free_port_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(ports, "_candidates", lambda: iter([server.getsockname()[1]]))
        with pytest.raises(OSError, match="no port") as caught:
            ports.free_port()
    assert caught.value.errno != errno.EADDRINUSE
