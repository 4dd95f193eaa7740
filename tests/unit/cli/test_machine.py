from pathlib import Path

import pytest
from arno.cli.up import machine as module
from arno.cli.up.machine import MachineOptions, plan_machine, require_model
from arno.errors import ModelError


@pytest.fixture
def plan(monkeypatch):
    monkeypatch.setattr(module, "find_redis_server", lambda: Path("redis-server"))

    def make(host="127.0.0.1", model="tiny"):
        options = MachineOptions(Path("data"), host, 50051, model, "redis", "")
        return options, plan_machine(options)

    return make


@pytest.mark.parametrize(
    ("host", "listens", "asked"),
    [
        ("127.0.0.1", "127.0.0.1:50051", "127.0.0.1:50051"),
        ("0.0.0.0", "0.0.0.0:50051", "127.0.0.1:50051"),  # noqa: S104
        ("::1", "[::1]:50051", "[::1]:50051"),
        ("::", "[::]:50051", "127.0.0.1:50051"),
    ],
)
def test_gateway_listens_on_the_host_and_is_asked_where_it_answers(plan, host, listens, asked):
    _, machine = plan(host)
    assert listens in machine.gateway.command
    assert machine.address == asked


def test_model_that_is_not_here_is_refused_unless_the_worker_will_fetch_it(plan, monkeypatch):
    asked = plan(model="nobody/no-such-model")
    with pytest.raises(ModelError, match="local hub cache"):
        require_model(*asked)
    monkeypatch.setenv("ARNO_DOWNLOAD", "true")
    require_model(*asked)
