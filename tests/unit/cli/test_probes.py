"""Probes of processes that answer badly."""

from __future__ import annotations

import socket
import threading

from arno.cli import probes


def test_refusal_whose_body_never_comes_is_a_refusal(monkeypatch):
    monkeypatch.setattr(probes, "_TIMEOUT_S", 0.2)
    read = threading.Event()

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\n")
            read.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        probe = probes.probe_http(f"http://127.0.0.1:{server.getsockname()[1]}/readyz")
        read.set()
        thread.join()
    assert not probe.ok
    assert "timed out" in probe.said
