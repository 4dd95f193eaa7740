"""A gateway says where jobs may wait for longer than the bus keeps them."""

from __future__ import annotations

from arno.gateway.main import retention_warnings
from arno.gateway.settings import GatewaySettings


def test_jobs_that_may_outlive_their_records_are_warned_of():
    assert retention_warnings(GatewaySettings()) == []
    (warning,) = retention_warnings(GatewaySettings(kafka_retention_s=3600))
    assert "jobs may wait for 604800 s" in warning
    assert "3600 s (kafka_retention_s)" in warning
    assert retention_warnings(GatewaySettings(kafka_retention_s=3600, bus="redis")) == []
