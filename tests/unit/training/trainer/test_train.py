import socket

import pytest
from arno.errors import ConfigurationError
from arno.training.trainer.settings import TrainSettings
from arno.training.trainer.train import serve_metrics
from prometheus_client import CollectorRegistry


def test_metrics_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = TrainSettings(data="x.jsonl", out=tmp_path, metrics_port=port)
        with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
            serve_metrics(settings, CollectorRegistry())
