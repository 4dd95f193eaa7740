"""`arno batch` as a user runs it: killed, interrupted, out of disk, with broken images."""

import json
import re
import resource
import signal
import urllib.request
from collections import Counter

import pytest
from arno.bulk import read_records
from support.arno_up import ArnoUp, arno, start_arno
from support.availability import require
from support.eventually import eventually
from support.images import encoded, png
from support.redis_server import WAYS_TO_GET_IT, redis_executables
from support.videos import numbered_picture, write_video

pytestmark = pytest.mark.redis

IMAGE_COUNT = 200
JOBS = re.compile(r"^arno_worker_jobs_total\{.*\} ([\d.]+)$", re.M)


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    require(redis_executables(), WAYS_TO_GET_IT)
    up = ArnoUp(tmp_path_factory.mktemp("up"))
    yield up
    assert up.stop() == 0


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(IMAGE_COUNT):
        path = folder / f"{number // 50}" / f"{number:04d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(numbered_picture(number), "PNG"))
    return folder


def jobs_run(up):
    url = json.loads((up.data / "up.json").read_text())["metrics"]["worker"]
    with urllib.request.urlopen(f"{url}/metrics") as page:  # noqa: S310 - our own port
        return sum(float(count) for count in JOBS.findall(page.read().decode()))


def keys(folder):
    return [record.key for record in read_records(folder)]


def shard_count(folder):
    return len(list((folder / "shards").glob("0*"))) if folder.exists() else 0


def test_batch_killed_three_times_answers_every_image_once(up, photos, tmp_path):
    out = tmp_path / "seen"
    words = ["batch", photos, "--task", "OD", "--out", out, "--address", up.address]
    # Small shards: most images are left when a shard is seen, however fast they are answered.
    words += ["--shard-size", "5", "--in-flight", "4"]
    before = jobs_run(up)
    for kills in range(1, 4):
        run = start_arno(*words, log=tmp_path / "batch.log")
        eventually(lambda kills=kills: shard_count(out) >= 2 * kills, what="a shard is written")
        assert run.poll() is None, (tmp_path / "batch.log").read_text()
        run.kill()
        run.wait()
    said = arno(*words)
    assert said.exit_code == 0, said.err
    assert " done before; answers: " in said.err
    found = keys(out)
    assert sorted(found) == [f"{number // 50}/{number:04d}.png" for number in range(IMAGE_COUNT)]
    # Nor did the worker do anything twice: what was under way was found again.
    assert jobs_run(up) - before == IMAGE_COUNT
    assert (out / "failures.jsonl").read_text() == ""
    again = arno(*words)
    assert (again.exit_code, keys(out)) == (0, found)
    assert f"0 answered, {IMAGE_COUNT} done before" in again.err


def test_broken_tenth_of_a_folder_is_told_and_stops_no_other(up, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    whole = png()
    for number in range(50):
        content = b"no image" if number % 10 == 3 else whole
        (photos / f"{number:02d}.png").write_bytes(content)
    out = tmp_path / "seen"
    words = ["batch", photos, "--out", out, "--address", up.address, "--format", "parquet"]
    said = arno(*words)
    assert said.exit_code == 1
    failures = out / "failures.jsonl"
    assert f"45 answered, 5 failed; answers: {out}; failures: {failures} (5)" in said.err
    failed = [json.loads(line) for line in failures.read_text().splitlines()]
    assert [one["key"] for one in failed] == ["03.png", "13.png", "23.png", "33.png", "43.png"]
    assert {one["error"]["reason"] for one in failed} == {"INVALID_IMAGE"}
    assert len(keys(out)) == 45
    (photos / "03.png").write_bytes(whole)
    # Only what may pass is asked again by itself.
    assert "50 done before" in arno(*words).err
    said = arno(*words, "--retry-failed")
    assert "1 answered, 4 failed, 45 done before" in said.err
    assert Counter(keys(out)).most_common(1)[0][1] == 1
    assert len(keys(out)) == 46


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_batch_keeps_what_was_answered_and_says_so(up, photos, tmp_path, number):
    out, log = tmp_path / "seen", tmp_path / "batch.log"
    words = ["batch", photos, "--out", out, "--address", up.address]
    words += ["--task", "OD", "--task", "CAPTION", "--task", "DETAILED_CAPTION"]
    # Small shards, one call at a time, long answers: most images are left when a shard is seen.
    run = start_arno(*words, "--shard-size", "2", "--in-flight", "1", log=log)
    eventually(lambda: shard_count(out) >= 2, what="a shard is written")
    run.send_signal(number)
    assert run.wait(30) == 130
    said = log.read_text()
    assert "interrupted; what was answered is kept, and the same command resumes the run" in said
    assert "Traceback" not in said
    answered = int(re.search(r"(\d+) answered", said)[1])
    assert len(keys(out)) == answered < IMAGE_COUNT


def test_disk_that_takes_no_more_is_told_and_what_was_answered_is_kept(up, photos, tmp_path):
    out, log = tmp_path / "seen", tmp_path / "batch.log"
    words = ["batch", photos, "--out", out, "--address", up.address, "--in-flight", "4"]
    run = start_arno(*words, log=log)
    eventually((out / "journal.sqlite-wal").exists, what="the journal is there")
    # A limit on the size of its files stands for the full disk: the next write past it fails.
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (60_000, 60_000))
    assert run.wait(60) == 1
    said = log.read_text()
    assert "stopped; what was answered is kept, and the same command resumes the run" in said
    assert f"error: {out}" in said
    assert "Traceback" not in said
    again = arno(*words)
    assert again.exit_code == 0, again.err
    assert len(keys(out)) == len(set(keys(out))) == IMAGE_COUNT


def test_batch_of_a_video_has_its_frames(up, tmp_path):
    video = write_video(tmp_path / "street.mp4", duration_s=2, rate=10)
    out = tmp_path / "street"
    words = ["--fps", "2", "--task", "CAPTION", "--out", out, "--address", up.address]
    said = arno("batch", video, *words)
    assert said.exit_code == 0, said.err
    records = sorted(read_records(out), key=lambda record: record.key)
    assert [record.fields["timestamp_ms"] for record in records] == [0, 500, 1000, 1500]
    assert records[0].result["CAPTION"].answer_text
