import http.server
import io
import json
import threading

import pytest
from arno.cli.main import root
from arno.cli.scraping import Reading, page_url, parse_page
from arno.cli.terminal import SafeConsole
from arno.cli.top import screen
from arno.errors import ConfigurationError
from click.testing import CliRunner

GATEWAY = """
# TYPE arno_gateway_open_requests gauge
arno_gateway_open_requests{method="Infer"} 3
# TYPE arno_gateway_jobs counter
arno_gateway_jobs_total{lane="batch",outcome="served"} %d
# TYPE arno_gateway_backlog_records gauge
arno_gateway_backlog_records{lane="batch"} 41
"""
WORKER = """
# TYPE arno_worker_jobs counter
arno_worker_jobs_total{state="SUCCEEDED"} %d
# TYPE arno_worker_busy_seconds counter
arno_worker_busy_seconds_total %f
"""


def reading(url, before, now, elapsed_s=2.0):
    return Reading(parse_page(url, before, 100.0), parse_page(url, now, 100.0 + elapsed_s))


def shown(*readings, width=120):
    page = io.StringIO()
    SafeConsole(width=width, file=page).print(screen(readings, width))
    return page.getvalue()


def test_rates_are_those_between_two_readings():
    text = shown(
        reading("http://g:9100/metrics", GATEWAY % 100, GATEWAY % 130),
        reading("http://w:9100/metrics", WORKER % (50, 7), WORKER % (80, 8.5)),
    )
    (batch,) = (line for line in text.splitlines() if "batch" in line and "15.0" in line)
    assert "41" in batch
    (worker,) = (line for line in text.splitlines() if "w:9100" in line)
    assert "75%" in worker
    assert "15.0" in worker


LONG_NAME = "http://worker-0.workers.a-long-namespace.svc.cluster.local:9100/metrics"


def test_all_columns_fit_a_terminal_of_80_beside_long_names():
    gateway = reading("http://g:9100/metrics", GATEWAY % 100, GATEWAY % 130)
    worker = reading(LONG_NAME, WORKER % (50, 7), WORKER % (80, 8.5))
    lines = shown(gateway, worker, width=80).splitlines()
    (row,) = (line for line in lines if line.startswith("worker-0.workers"))
    assert row.split()[1:3] == ["75%", "15.0"]
    assert len(row.split()) == 10
    (lanes,) = (line for line in lines if line.startswith("lane"))
    assert lanes.split()[-3:] == ["seconds", "waiting", "wait"]


def test_narrow_terminal_shows_the_other_columns_below():
    worker = reading(LONG_NAME, WORKER % (50, 7), WORKER % (80, 8.5))
    lines = shown(worker, width=50).splitlines()
    rows = [line.split() for line in lines if line.startswith("worker-0.workers")]
    assert rows[0][1:3] == ["75%", "15.0"]
    assert sum(len(row) - 1 for row in rows) == 9
    assert max(map(len, lines)) <= 50


def test_process_that_began_anew_counts_from_nothing():
    one = reading("http://w/metrics", WORKER % (50, 7), WORKER % (8, 1))
    assert one.rate("arno_worker_jobs_total") == 4


def test_process_that_is_away_is_told_beside_the_others():
    away = reading("http://w/metrics", WORKER % (1, 1), WORKER % (1, 1))
    gone = Reading(away.before, type(away.now)(away.now.url, 102.0, problem="refused"))
    text = shown(reading("http://g/metrics", GATEWAY % 1, GATEWAY % 1), gone)
    assert "http://w/metrics: refused" in text
    assert "lane" in text


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("host:9100", "http://host:9100/metrics"),
        ("https://host/metrics", "https://host/metrics"),
        ("http://host:1/", "http://host:1/metrics"),
    ],
)
def test_address_may_be_short(address, url):
    assert page_url(address) == url


def test_other_schemes_are_refused():
    with pytest.raises(ConfigurationError, match="must be the http address"):
        page_url("file:///etc/passwd")


@pytest.fixture
def metrics_page():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write((GATEWAY % 7).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_processes_of_arno_up_are_found_by_its_folder(tmp_path, metrics_page):
    state = {"metrics": {"gateway": f"http://{metrics_page}"}}
    (tmp_path / "up.json").write_text(json.dumps(state))
    said = CliRunner().invoke(root, ["top", "--data", str(tmp_path), "--once", "--every", "0.1"])
    assert said.exit_code == 0
    assert metrics_page in said.output


def test_nothing_that_answers_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="no `arno up` runs there"):
        root.main(["top", "--data", str(tmp_path)], standalone_mode=False)
    with pytest.raises(ConfigurationError, match="no process answers"):
        root.main(["top", "127.0.0.1:9"], standalone_mode=False)
