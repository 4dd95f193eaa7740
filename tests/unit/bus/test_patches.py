"""The patches of kafka-python that need no broker to show what they mend.

A test whose name says "unpatched" fails once the library has repaired the defect: then the patch
goes. The patches that need a broker are tested in tests/integration/bus/test_patches_on_kafka.py.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from functools import partial

import kafka
import pytest
from arno.bus.kafka import net_patches
from arno.bus.kafka.log_limit import limit_logs
from arno.bus.kafka.net_patches import (
    LongReadsClient,
    PacedClient,
    SparingSelector,
    receive,
    require_names,
)
from arno.bus.kafka.patches import PatchedAdmin, PatchedConsumer
from arno.bus.kafka.settings import consumer_config, producer_config, reader_config
from arno.bus.settings import BusSettings
from arno.errors import ConfigurationError
from kafka.errors import KafkaConnectionError, KafkaError
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaTCPTransport
from support.clock import ManualClock

IMAGE = b"x" * 100_000
NOWHERE = ["127.0.0.1:1"]


def test_patches_are_read_again_for_another_release() -> None:
    assert kafka.__version__ == net_patches.WRITTEN_FOR, (
        "read every patch and its report against this release, run tests/integration/bus, "
        "and set WRITTEN_FOR"
    )


def test_library_without_a_name_that_a_patch_needs_is_refused() -> None:
    require_names(socket.socket, "recv", patch="LongReadsClient")
    with pytest.raises(ConfigurationError, match=r"no socket\.receive, which the patch LongReads"):
        require_names(socket.socket, "recv", "receive", patch="LongReadsClient")


class Counting(socket.socket):
    """A socket that counts how often it is read."""

    reads = 0

    def recv(self, *args: int) -> bytes:
        self.reads += 1
        return super().recv(*args)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Counting]]:
    broker, client = socket.socketpair()
    ours = Counting(fileno=client.detach())
    ours.setblocking(False)
    with broker, ours:
        yield broker, ours


def test_unpatched_transport_reads_four_kilobytes_at_a_time(
    pair: tuple[socket.socket, Counting],
) -> None:
    broker, ours = pair
    broker.sendall(IMAGE)
    transport = KafkaTCPTransport.__new__(KafkaTCPTransport)
    transport._sock = ours
    assert transport._sock_recv() == (IMAGE, None)
    assert ours.reads > len(IMAGE) / 4096


def test_record_with_an_image_is_read_at_once(pair: tuple[socket.socket, Counting]) -> None:
    broker, ours = pair
    broker.sendall(IMAGE)
    assert receive(ours) == (IMAGE, None)
    assert ours.reads == 1


def test_empty_socket_is_no_error(pair: tuple[socket.socket, Counting]) -> None:
    assert receive(pair[1]) == (b"", None)


def test_bytes_before_the_end_of_a_connection_are_kept(
    pair: tuple[socket.socket, Counting],
) -> None:
    broker, ours = pair
    broker.sendall(b"the last answer")
    broker.close()
    received, fault = receive(ours)
    while fault is None:
        more, fault = receive(ours)
        received += more
    assert received == b"the last answer"
    assert isinstance(fault, KafkaConnectionError)


def test_broken_connection_is_an_error_of_the_client(pair: tuple[socket.socket, Counting]) -> None:
    ours = pair[1]
    ours.close()
    received, fault = receive(ours)
    assert received == b""
    assert isinstance(fault, KafkaConnectionError)


@pytest.mark.parametrize("make_config", [consumer_config, producer_config, reader_config])
def test_every_client_that_carries_records_makes_long_reads(make_config) -> None:
    config = make_config(BusSettings(kafka_bootstrap=NOWHERE[0]))
    assert issubclass(config["kafka_client"], LongReadsClient)


@pytest.mark.parametrize("selector_class", [NetworkSelector, SparingSelector])
def test_unpatched_selector_writes_a_byte_for_every_wake_up(selector_class: type) -> None:
    selector = selector_class()
    try:
        for _ in range(5):
            selector.wakeup()
        written = len(selector._wakeup_r.recv(100, socket.MSG_PEEK))
        assert written == (5 if selector_class is NetworkSelector else 1)
    finally:
        selector.close()


def test_loop_is_woken_again_after_it_has_woken_up() -> None:
    selector = SparingSelector(client_id="test")
    selector.start()
    try:
        for _ in range(100):
            done = threading.Event()
            # Two at once: the second writes no byte, and must be seen all the same.
            selector.call_soon_threadsafe(lambda: None)
            selector.call_soon_threadsafe(done.set)
            assert done.wait(10)
    finally:
        selector.close()


@pytest.mark.parametrize("client_class", [KafkaNetClient, PacedClient])
def test_unpatched_client_gives_the_sender_seconds_for_milliseconds(client_class: type) -> None:
    client = client_class(bootstrap_servers=NOWHERE)
    try:
        unknown_ms = client.connection_delay(1)
        backoff_ms = client._manager.update_backoff(1)
        asked_ms = client.connection_delay(1)
    finally:
        client.close()
    if client_class is KafkaNetClient:
        assert unknown_ms == 0
        assert asked_ms < backoff_ms / 100
    else:
        assert unknown_ms >= 10
        assert backoff_ms * 0.9 <= asked_ms <= max(50, backoff_ms)


def test_each_line_of_the_library_logs_once_in_a_while_and_other_loggers_always(
    caplog: pytest.LogCaptureFixture, unique_prefix: str
) -> None:
    clock = ManualClock()
    limit_logs(unique_prefix, clock=clock)
    limit_logs(unique_prefix, clock=clock)
    library, other = logging.getLogger(f"{unique_prefix}.net"), logging.getLogger("arno.bus")

    def logged(log: logging.Logger, line: int, level: int = logging.WARNING) -> int:
        caplog.clear()
        record = log.makeRecord(log.name, level, "net.py", line, "away", (), None)
        if log.isEnabledFor(level):
            log.handle(record)
        return len(caplog.records)

    assert [logged(library, line) for line in (1, 2, 1)] == [1, 1, 0]
    assert [logged(other, line) for line in (1, 1)] == [1, 1]
    assert logged(library, 3, logging.INFO) == 0
    clock.advance(30)
    assert logged(library, 1) == 1


@pytest.mark.parametrize(
    ("client_class", "left"),
    [
        (kafka.KafkaAdminClient, 1),
        (PatchedAdmin, 0),
        (kafka.KafkaConsumer, 1),
        (PatchedConsumer, 0),
    ],
)
def test_client_without_a_broker_leaves_its_thread_unless_patched(
    client_class: type, left: int, unique_prefix: str
) -> None:
    with pytest.raises(KafkaError):
        client_class(bootstrap_servers=NOWHERE, bootstrap_timeout_ms=100, client_id=unique_prefix)
    threads = [one for one in threading.enumerate() if unique_prefix in one.name]
    for one in threads:
        one._target.__self__.close()
    assert len(threads) == left


class NeverWaits:
    """An event loop for a connection that is refused, or given up, at once."""

    async def wait_write(self, sock: socket.socket, timeout_at: float | None = None) -> None:
        raise KafkaConnectionError("given up")


def _failed_socket(*, patched: bool) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    net = KafkaNetSocket()
    connect = net.sock_connect if patched else partial(net_patches.UNPATCHED_SOCK_CONNECT, net)
    with pytest.raises(KafkaConnectionError):
        connect(NeverWaits(), sock, ("127.0.0.1", 1)).send(None)
    return sock


def test_unpatched_connect_leaves_the_socket_of_a_refused_connection_open() -> None:
    with _failed_socket(patched=False) as sock:
        assert sock.fileno() != -1


def test_socket_of_a_refused_connection_is_closed() -> None:
    assert _failed_socket(patched=True).fileno() == -1
