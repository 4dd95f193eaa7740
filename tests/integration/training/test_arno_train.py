"""`arno train` as it is used: killed, resumed, on several processes, on broken data."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import urllib.request
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from support.eventually import eventually, once_it_reaches

# The steps bound these tests: a busy machine makes them slow, not wrong.
pytestmark = [pytest.mark.model, pytest.mark.timeout(3600)]

SAMPLES = 30


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty pictures of squares and discs, in COCO's format."""
    folder = tmp_path_factory.mktemp("coco")
    rng = random.Random(1)
    images, annotations = [], []
    for number in range(SAMPLES):
        picture = Image.new("RGB", (96, 80), "white")
        side = rng.randint(15, 40)
        left, top = rng.randint(0, 95 - side), rng.randint(0, 79 - side)
        category = rng.randint(1, 2)
        pen = ImageDraw.Draw(picture)
        shape = pen.rectangle if category == 1 else pen.ellipse
        shape((left, top, left + side, top + side), fill="blue")
        picture.save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 96, "height": 80})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": category,
                "bbox": [left, top, side, side],
            }
        )
    categories = [{"id": 1, "name": "square"}, {"id": 2, "name": "disc"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(document))
    return folder / "instances.json"


def command(data: str, out: Path, *flags: str) -> list[str]:
    return [
        *("train", "--data", data, "--out", str(out), "--device", "cpu"),
        *("--threads", "1", "--learning-rate", "1e-4", *flags),
    ]


def alive_in_group(group: int) -> list[str]:
    """Return the states of the group's processes that are no zombies."""
    states = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _parent, found = path.read_text().rpartition(")")[2].split()[:3]
            if int(found) == group and state != "Z":
                states.append(state)
    return states


def weights(out: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(out / "checkpoint.pt", weights_only=True)["weights"]
    return found


def losses(out: Path) -> list[float]:
    lines = (out / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines if line.endswith("}")]


def steps_logged(out: Path) -> int:
    return len(losses(out)) if (out / "log.jsonl").exists() else 0


def assert_equal(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert losses(one) == losses(other)


PLAN = ("--epochs", "2", "--batch", "3", "--checkpoint-steps", "3", "--loader-processes", "0")


def test_killed_run_goes_on_and_ends_with_the_weights_of_one_that_was_not(
    warm_arno, data, tmp_path
):
    name = f"coco:{data}"
    killed = warm_arno.start(*command(name, tmp_path / "killed", *PLAN))
    once_it_reaches(4, lambda: steps_logged(tmp_path / "killed"))
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    done = torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"]
    assert 3 <= done < 20
    assert not (tmp_path / "killed" / "model").exists()
    resumed = warm_arno(*command(name, tmp_path / "killed", *PLAN))
    assert resumed.exit_code == 0, resumed.err
    assert f"step {done} of 20" in resumed.err
    whole = warm_arno(*command(name, tmp_path / "whole", *PLAN))
    assert whole.exit_code == 0, whole.err
    assert_equal(tmp_path / "killed", tmp_path / "whole")
    facts = json.loads((tmp_path / "killed" / "model" / "training.json").read_text())
    assert (facts["steps"], facts["sample_count"], facts["base"]) == (20, SAMPLES, "tiny")
    assert (tmp_path / "killed" / "loss.png").stat().st_size > 1000
    first, last = losses(tmp_path / "whole")[:5], losses(tmp_path / "whole")[-5:]
    assert sum(last) < sum(first)


def test_two_processes_learn_what_one_learns_in_micro_batches(warm_arno, data, tmp_path):
    plan = ("--steps", "4", "--batch", "6", "--micro-batch", "2", "--loader-processes", "0")
    alone = warm_arno(*command(f"coco:{data}", tmp_path / "one", *plan))
    assert alone.exit_code == 0, alone.err
    launcher = ["--standalone", "--nproc-per-node", "2"]
    words = [*launcher, "-m", "arno.cli", *command(f"coco:{data}", tmp_path / "two", *plan)]
    both = warm_arno.start_module("torch.distributed.run", *words).result()
    assert both.exit_code == 0, both.err
    assert "Warning" not in both.err
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    # Adam makes steps of one size from gradients that are all but zero, so single weights differ.
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    apart = sum(float((one[name] - two[name]).square().sum()) for name in one) ** 0.5
    assert apart / sum(float(weight.square().sum()) for weight in one.values()) ** 0.5 < 1e-4


def test_asked_to_stop_the_run_saves_its_step_and_tells_prometheus(warm_arno, data, tmp_path):
    plan = ("--steps", "100000", "--batch", "2", "--loader-processes", "0")
    running = warm_arno.start(*command(f"coco:{data}", tmp_path / "out", *plan))
    url = eventually(lambda: re.search(r"metrics at (\S+/metrics)\s", running.said))[1]
    once_it_reaches(2, lambda: steps_logged(tmp_path / "out"))
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own address
        page = answer.read().decode()
    assert "arno_train_planned_step_count 100000.0" in page
    assert "arno_train_loss " in page
    running.send_signal(signal.SIGTERM)
    assert running.wait() == 130
    done = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"]
    assert done == steps_logged(tmp_path / "out")


def test_ctrl_c_ends_the_run_and_its_loader_after_the_step(warm_arno, data, tmp_path):
    plan = ("--steps", "100000", "--batch", "2", "--loader-processes", "1")
    running = warm_arno.start(*command(f"coco:{data}", tmp_path / "out", *plan))
    once_it_reaches(2, lambda: steps_logged(tmp_path / "out"))
    # A terminal sends it to every process of the group, the loader too.
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait() == 130, running.said
    assert "Traceback" not in running.said
    done = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"]
    assert done == steps_logged(tmp_path / "out")
    assert f"stopped after step {done}" in running.said
    # The fork server ends once it notices that the pipe to its parent is closed.
    eventually(lambda: not alive_in_group(running.pid), what="no process of the run is left")


def test_folder_of_another_run_is_refused_by_name(warm_arno, data, tmp_path):
    plan = ("--steps", "1", "--batch", "2", "--loader-processes", "0")
    first = warm_arno(*command(f"coco:{data}", tmp_path / "out", *plan))
    assert first.exit_code == 0, first.err
    again = warm_arno(*command(f"coco:{data}", tmp_path / "out", *plan, "--seed", "5"))
    assert again.exit_code == 2
    assert "seed was 0, is 5" in again.err


def broken_lines(data: Path, count: int) -> Path:
    good = {"file": "1.png", "task": "OD", "answer": []}
    outside = {"label": "x", "box": [0, 0, 900, 5]}
    lines = [{**good, "answer": [outside]}] * count + [good] * 6
    path = data.parent / f"broken-{count}.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_broken_samples_are_passed_over_and_counted(warm_arno, data, tmp_path):
    name = str(broken_lines(data, 2))
    plan = ("--epochs", "2", "--batch", "4", "--loader-processes", "1", "--bad-samples-max", "2")
    done = warm_arno(*command(name, tmp_path / "out", *plan))
    assert done.exit_code == 0, done.err
    assert "broken, passed over" in done.err
    facts = json.loads((tmp_path / "out" / "model" / "training.json").read_text())
    assert facts["bad_sample_count"] == 2


@pytest.mark.parametrize("limit", ["1", "100"])
def test_too_many_broken_samples_stop_the_run_and_are_listed(warm_arno, data, tmp_path, limit):
    path = broken_lines(data, 3)
    if limit == "100":
        # Not more than the limit, and yet nothing is left to learn from.
        path.write_text("\n".join(path.read_text().splitlines()[:3]))
    plan = ("--epochs", "2", "--batch", "4", "--loader-processes", "0", "--bad-samples-max", limit)
    done = warm_arno(*command(str(path), tmp_path / "out", *plan))
    assert done.exit_code != 0
    assert "samples are broken" in done.err
    assert ":1: answer.detection.regions[0]" in done.err.replace("\n", "")
    assert not (tmp_path / "out" / "model").exists()
