"""Reading from a broker: all that is there, in few calls, and no more than is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from arno.bus.kafka.long_reads import receive
from arno.bus.kafka.settings import consumer_config, producer_config, reader_config
from arno.bus.settings import BusSettings
from kafka.errors import KafkaConnectionError


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


def test_a_record_with_an_image_is_read_in_one_go(pair: tuple[socket.socket, Counting]) -> None:
    broker, ours = pair
    broker.sendall(b"x" * 100_000)
    assert receive(ours) == (b"x" * 100_000, None)
    assert ours.reads == 1


def test_nothing_is_nothing_and_no_fault(pair: tuple[socket.socket, Counting]) -> None:
    assert receive(pair[1]) == (b"", None)


def test_what_came_before_the_end_is_kept(pair: tuple[socket.socket, Counting]) -> None:
    broker, ours = pair
    broker.sendall(b"the last answer")
    broker.close()
    received, fault = receive(ours)
    while fault is None:
        more, fault = receive(ours)
        received += more
    assert received == b"the last answer"
    assert isinstance(fault, KafkaConnectionError)


def test_a_connection_that_breaks_is_a_fault_in_the_clients_words(
    pair: tuple[socket.socket, Counting],
) -> None:
    ours = pair[1]
    ours.close()
    received, fault = receive(ours)
    assert received == b""
    assert isinstance(fault, KafkaConnectionError)


@pytest.mark.parametrize("make_config", [consumer_config, producer_config, reader_config])
def test_every_client_that_carries_records_reads_so(make_config) -> None:
    config = make_config(BusSettings(kafka_bootstrap="127.0.0.1:1"))
    client = config["kafka_client"](bootstrap_servers=config["bootstrap_servers"])
    try:
        assert type(client._manager).__name__ == "_Connections"
    finally:
        client.close()
