"""Addresses that calls are kept away from, as written and as a network translates them."""

from __future__ import annotations

import pytest
from arno.ops.public_addresses import require_public_literal


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::ffff:0:10.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a00:1]",
        "[2002:a00:1::1]",
    ],
)
def test_private_address_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(PermissionError, match="which is private; allow_private allows it"):
        require_public_literal(f"http://{host}:80/a.png")


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]", "[64:ff9b::808:808]", "a.example"]
)
def test_public_address_is_not_refused_where_a_network_translates_it(host: str) -> None:
    require_public_literal(f"http://{host}/a.png")
