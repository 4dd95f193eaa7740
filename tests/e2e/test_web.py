"""HTTP in front of a real gateway and a real model: what docs/http.md says can be run."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import arno
import httpx2
import pytest
import supervision as sv
from mcp import Client, StdioServerParameters
from support.arno_up import ArnoUp, start_arno
from support.availability import require
from support.eventually import eventually
from support.label_studio import judged_by_sdk

pytestmark = [pytest.mark.redis, pytest.mark.model]

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "examples" / "images" / "wide.jpg"
PAGE = (ROOT / "docs" / "http.md").read_text()
SNIPPETS = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
(PYTHON_SNIPPET,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: text.split(" -")[0][:60])
def test_snippet_of_the_page_runs(web_up: ArnoUp, tmp_path: Path, snippet: str) -> None:
    require(shutil.which("curl"), "curl")
    shutil.copy(IMAGE, tmp_path / "photo.jpg")
    text = snippet.replace("http://127.0.0.1:8080", web_up.web)
    words = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "TASK_" in done.stdout or done.stdout == ""


def test_openai_snippet_of_the_page_runs(web_up: ArnoUp, tmp_path: Path) -> None:
    shutil.copy(IMAGE, tmp_path / "photo.jpg")
    text = PYTHON_SNIPPET.replace("http://127.0.0.1:8080", web_up.web)
    words = [sys.executable, "-c", text]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^cat \[[\d.]+, .*\] pixel$", done.stdout, re.M)


def test_answer_is_the_one_that_the_command_line_prints(web_up: ArnoUp) -> None:
    form = {"task": ["OD", "CAPTION"]}
    answer = httpx2.post(
        f"{web_up.web}/v1/infer", files={"image": IMAGE.read_bytes()}, data=form, timeout=60
    ).json()
    assert [one["task"] for one in answer["results"]] == ["TASK_OD", "TASK_CAPTION"]
    labels = [one["label"] for one in answer["results"][0]["answer"]["detection"]["regions"]]
    assert sorted(labels) == ["cat", "cup"]
    assert answer["model"]["name"] == "tiny"


def test_label_studio_gets_predictions_of_the_model(web_up: ArnoUp) -> None:
    config = """<View><Image name="image" value="$image"/>
      <RectangleLabels name="what" toName="image">
        <Label value="Cat"/><Label value="Cup"/>
      </RectangleLabels>
      <TextArea name="caption" toName="image"/>
      <Choices name="kind" toName="image"><Choice value="cat"/><Choice value="house"/></Choices>
    </View>"""
    image = "data:image/jpeg;base64," + base64.b64encode(IMAGE.read_bytes()).decode()
    body = {"tasks": [{"id": 1, "data": {"image": image}}], "label_config": config}
    setup = {"project": "1.1", "schema": config}
    version = httpx2.post(f"{web_up.web}/setup", json=setup).json()["model_version"]
    assert version.startswith("tiny ")
    answer = httpx2.post(f"{web_up.web}/predict", json=body, timeout=60).json()
    (prediction,) = answer["results"]
    assert judged_by_sdk(config, prediction) == [[]]
    assert prediction["model_version"] == version
    assert 0 < prediction["score"] <= 1
    boxes = [one["value"] for one in prediction["result"] if one["type"] == "rectanglelabels"]
    assert sorted(one["rectanglelabels"][0] for one in boxes) == ["Cat", "Cup"]
    (kind,) = [one["value"] for one in prediction["result"] if one["type"] == "choices"]
    assert kind == {"choices": ["cat"]}
    assert {one["type"] for one in prediction["result"]} == {
        *("rectanglelabels", "textarea", "choices")
    }


async def test_agent_sees_by_the_client_of_its_protocol(web_up: ArnoUp) -> None:
    words = ["-m", "arno.cli", "mcp", "--address", web_up.address, "--folder", str(IMAGE.parent)]
    async with Client(StdioServerParameters(command=sys.executable, args=words)) as client:
        found = await client.call_tool("detect", {"image": IMAGE.name, "classes": ["cat"]})
        said = await client.call_tool("caption", {"image": IMAGE.name})
    assert found.structured_content is not None
    assert [one["label"] for one in found.structured_content["regions"]] == ["cat"]
    assert said.structured_content is not None
    assert "cat" in said.structured_content["text"]


def test_supervision_and_fiftyone_take_what_a_running_arno_answers(web_up: ArnoUp) -> None:
    with arno.Client(web_up.address) as client:
        result = client.infer(IMAGE, "OD", "CAPTION")
    found = result.to_supervision("OD")
    assert sorted(found.data["class_name"]) == ["cat", "cup"]
    assert found.confidence is not None
    assert (found.confidence > 0.5).all()
    size = (1280, 720)
    said = sv.Detections.from_vlm(
        sv.VLM.FLORENCE_2, result.to_florence_dict("OD"), resolution_wh=size
    )
    assert said.xyxy == pytest.approx(found.xyxy)
    sample = json.loads(json.dumps(result.to_fiftyone()))
    assert sorted(one["label"] for one in sample["od"]["detections"]) == ["cat", "cup"]
    assert sample["caption"]["label"] == result["CAPTION"].answer_text


def test_state_and_words_of_arno_up_name_the_page(web_up: ArnoUp) -> None:
    assert f"look     {web_up.web}" in web_up.said
    assert json.loads((web_up.data / "up.json").read_text())["web"] == web_up.web
    assert httpx2.get(f"{web_up.web}/readyz").text == "ok\n"


def test_process_without_a_gateway_says_so_and_leaves_in_order(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    words = ["web", "--address", "127.0.0.1:1", "--web-listen", "127.0.0.1:0"]
    process = start_arno(*words, log=log)
    try:
        found = eventually(lambda: re.search(r"serving on (http://[\d.:]+)", log.read_text()))
        answer = eventually(lambda: _ready(found[1]), what="the server answers")
        assert (answer.status_code, "127.0.0.1:1 is not ready" in answer.text) == (503, True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def _ready(url: str) -> httpx2.Response | None:
    try:
        return httpx2.get(f"{url}/readyz", timeout=10)
    except httpx2.ConnectError:
        return None
