"""The gateway's settings: what its address must look like."""

from __future__ import annotations

import pytest
from arno.gateway.settings import GatewaySettings
from pydantic import ValidationError


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::]:50051", "gateway:1", "unix:/run/arno"])
def test_addresses_with_a_port_and_sockets_are_taken(listen):
    assert GatewaySettings(listen=listen).listen == listen


@pytest.mark.parametrize("listen", ["", "127.0.0.1", ":50051", "host:", "host:http", "host:65536"])
def test_address_without_a_port_that_exists_is_refused(listen):
    with pytest.raises(ValidationError, match="needs HOST:PORT"):
        GatewaySettings(listen=listen)
