"""`arno up` and the client verbs, as a user runs them."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import arno as sdk
import pytest
from arno.cli.main import root
from arno.errors import DeadlineExceededError, UnknownJobError
from click.testing import CliRunner
from PIL import Image
from support.arno_up import ArnoUp, alive, arno
from support.availability import require
from support.eventually import eventually
from support.redis_server import WAYS_TO_GET_IT, redis_executables
from support.videos import write_video

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    require(redis_executables(), WAYS_TO_GET_IT)
    # A worker that was killed is given up after a second instead of fifteen.
    up = ArnoUp(tmp_path_factory.mktemp("up"), ARNO_CLAIM_TIMEOUT_S="1")
    yield up
    assert up.stop() == 0


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "a.png"
    Image.new("RGB", (640, 480), (200, 220, 240)).save(path)
    return path


def test_infer_prints_a_table_and_draws_the_picture(up, image, tmp_path):
    seen = tmp_path / "seen.png"
    said = arno("infer", image, "--task", "OD", "--draw", seen, "--address", up.address)
    assert said.exit_code == 0, said.err
    assert "160,120,480,360" in said.out
    assert "stop" in said.out
    with Image.open(seen) as drawn:
        assert drawn.size == (640, 480)


def test_infer_json_is_one_line_an_answer_and_a_bad_image_stops_no_other(up, image, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    words = ["--task", "OD", "--task", "REGION_TO_DESCRIPTION@OD", "--json"]
    said = arno("infer", bad, image, *words, "--address", up.address)
    assert said.exit_code == 1
    assert "bad.png" in said.err
    assert "JPEG, PNG" in said.err
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["file"] for line in lines] == [str(bad), str(image), str(image)]
    assert lines[0]["error"]["reason"] == "INVALID_IMAGE"
    tasks = [line["results"][0]["task"] for line in lines[1:]]
    assert tasks == ["TASK_OD", "TASK_REGION_TO_DESCRIPTION"]


def test_sdk_answers_with_typed_regions(up, image):
    with sdk.Client(up.address) as client:
        result = client.infer(image, "OD", sdk.TaskRequest("PROMPT", text="<VQA>what is it?"))
    (found,) = result["OD"].regions
    assert found.label == "null"
    assert found.shape.x0 == pytest.approx(160.32)
    assert result["PROMPT"].answer_text == "null"


def test_job_is_handed_in_watched_fetched_and_deleted(up, image):
    def job(*words):
        # In this process: six interpreters more would show nothing more.
        words = ["job", *map(str, words), "--address", up.address]
        return CliRunner().invoke(root, words, standalone_mode=False)

    name = job("submit", image, "--task", "CAPTION").output.strip()
    watched = job("watch", name)
    assert (watched.return_value, "CAPTION" in watched.output) == (0, True)
    fetched = json.loads(job("get", name, "--json").output)
    assert fetched["state"] == "JOB_STATE_SUCCEEDED"
    assert "succeeded" in job("cancel", name).output
    assert "deleted" in job("delete", name).output
    gone = job("get", name).exception
    assert isinstance(gone, UnknownJobError)
    assert f"no job '{name}'" in gone.message


def test_pictures_of_equal_names_are_drawn_beside_one_another(up, image, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(image.read_bytes())
    words = ["infer", str(tmp_path / "one"), str(tmp_path / "two"), "--draw", str(tmp_path / "out")]
    said = CliRunner().invoke(root, [*words, "--address", up.address], standalone_mode=False)
    assert said.return_value == 0
    drawn = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert drawn == ["a.png-1.annotated.png", "a.png.annotated.png"]


def test_job_that_takes_longer_than_the_watch_says_how_it_stands(up, image):
    os.kill(up.children()["worker"], signal.SIGSTOP)
    try:
        with sdk.Client(up.address) as client:
            name = client.submit(image, "OD").id
        words = ["job", "watch", name, "--timeout", "0.5", "--address", up.address]
        error = CliRunner().invoke(root, words, standalone_mode=False).exception
    finally:
        os.kill(up.children()["worker"], signal.SIGCONT)
    assert isinstance(error, DeadlineExceededError)
    assert error.message == f"{name}: queued; it has not ended within --timeout 0.5"


def test_eval_asks_the_model_behind_the_gateway(up, image, tmp_path):
    line = {"file": str(image), "task": "OD"}
    answers = [
        {"label": "null", "box": [160, 120, 480, 360]},
        {"label": "cat", "box": [0, 0, 9, 9]},
    ]
    (tmp_path / "data.jsonl").write_text(json.dumps({**line, "answer": answers}))
    words = ["eval", "--data", tmp_path / "data.jsonl", "--address", up.address, "--json"]
    said = CliRunner().invoke(root, list(map(str, words)), standalone_mode=False)
    assert said.exception is None
    report = json.loads(said.stdout)
    assert report["model"]["where"] == up.address
    assert report["figures"]["OD"] == {
        "questions": 1,
        "map_50": 0.5,
        "map_50_95": 0.5,
        "precision_50": 1,
        "recall_50": 0.5,
        "mean_iou": pytest.approx(0.99, abs=0.01),
    }


def test_stream_writes_one_event_a_sampled_frame_in_order(up, tmp_path):
    video = write_video(tmp_path / "v.mp4", duration_s=10, rate=10)
    events = tmp_path / "events.jsonl"
    words = ["--task", "OD", "--fps", "2", "--out", events, "--address", up.address]
    said = arno("stream", video, *words)
    assert said.exit_code == 0, said.err
    assert "20 frames: 20 answered" in said.err
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["sequence"] for line in lines] == list(range(20))
    assert [line["timestamp_ms"] for line in lines] == [n * 500 for n in range(20)]
    # Each answer names the image it is about, and every frame of this video differs.
    assert len({line["image"]["sha256"] for line in lines}) == 20


def test_doctor_finds_what_runs(up):
    said = arno("doctor", "--model", "null", "--data", up.data, "--json")
    findings = {line["subject"]: line for line in map(json.loads, said.out.splitlines())}
    assert said.exit_code == 0, said.out
    assert findings["gateway"] == {
        "level": "OK",
        "subject": "gateway",
        "found": f"{up.address} is ready",
        "advice": "",
    }
    assert findings["redis"]["level"] == "OK"


def test_second_up_with_the_same_data_is_refused(up):
    said = arno("up", "--port", "0", "--data", up.data, "--model", "null")
    assert said.exit_code == 2
    assert "another `arno up` uses it" in said.err


def test_killed_worker_is_started_again_and_every_waiting_client_gets_its_answer(up, image):
    before = up.children()["worker"]
    with sdk.Client(up.address) as client, ThreadPoolExecutor(8) as pool:
        answers = [
            pool.submit(client.infer, image, "OD", "CAPTION", timeout_s=90) for _ in range(60)
        ]
        eventually(lambda: sum(answer.done() for answer in answers) >= 5, timeout_s=60)
        os.kill(before, signal.SIGKILL)
        assert all(answer.result().ok for answer in answers)
    eventually(lambda: up.children().get("worker", before) != before, timeout_s=30)
    assert not alive(before)
    assert "worker ended" in up.said
