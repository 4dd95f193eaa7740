"""However `arno up` ends, nothing of it is left running; and a broken set-up says why."""

import os
import signal

import pytest
from arno.ops.ports import free_port
from PIL import Image
from support.arno_up import ArnoUp, alive, arno, start_arno
from support.availability import require
from support.eventually import eventually
from support.redis_server import WAYS_TO_GET_IT, redis_executables

pytestmark = pytest.mark.redis


@pytest.fixture(autouse=True)
def _redis():
    require(redis_executables(), WAYS_TO_GET_IT)


def test_ctrl_c_stops_all_in_order_and_leaves_no_process(tmp_path):
    up = ArnoUp(tmp_path)
    children = up.children()
    assert set(children) == {"redis-server", "gateway", "worker"}
    assert up.stop() == 0
    assert not any(map(alive, children.values()))
    assert up.said.rstrip().endswith("stopped")
    assert "killed" not in up.said
    assert not (up.data / "up.json").exists()


def test_killed_up_leaves_no_child(tmp_path):
    up = ArnoUp(tmp_path)
    children = up.children()
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait(10)
    eventually(lambda: not any(map(alive, children.values())), what="no child is left")


def test_model_that_is_not_there_is_named_before_anything_is_started(tmp_path):
    said = arno("up", "--port", "0", "--data", tmp_path / "d", "--model", tmp_path / "absent")
    assert said.exit_code == 2
    assert "there is no folder" in said.err
    assert "redis" not in said.err


def test_doctor_names_what_is_wrong_and_what_to_do(tmp_path):
    nobody = f"127.0.0.1:{free_port()}"
    said = arno(
        *("doctor", "--address", nobody, "--redis-url", f"redis://{nobody}/0"),
        *("--kafka-bootstrap", nobody, "--model", tmp_path),
        folder=tmp_path,
        ARNO_MODLE="tiny",
    )
    assert said.exit_code == 1
    assert f"nothing listens on {nobody}" in said.out
    assert "start one: arno up" in said.out
    assert "ARNO_MODLE is unknown" in said.out
    assert "it has no config.json" in said.out
    assert "5 problems found" in said.out


def test_demo_writes_pictures_and_results_and_leaves_nothing(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (64, 48)).save(tmp_path / "images" / name)
    log = tmp_path / "demo.log"
    words = ["demo", tmp_path / "images", "--out", tmp_path / "out", "--model", "null"]
    demo = start_arno(*words, log=log)
    assert demo.wait(90) == 0, log.read_text()
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 8
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a.png.annotated.png",
        "b.jpg.annotated.png",
        "results.jsonl",
    }


def test_terminated_demo_leaves_no_data(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "images" / "a.png")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = ["demo", tmp_path / "images", "--out", tmp_path / "out", "--model", "null"]
    demo = start_arno(*words, log=tmp_path / "demo.log", TMPDIR=str(scratch))
    eventually(lambda: list(scratch.glob("*/up.log")), what="the demo has begun")
    demo.terminate()
    assert demo.wait(60) == 130
    assert not list(scratch.iterdir())
