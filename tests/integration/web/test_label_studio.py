"""A backend of Label Studio: what its server sends, and what its SDK says of the answers."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from arno.api.v1 import types_pb2
from support.answers import caption, detection, region, response
from support.eventually import eventually
from support.images import png
from support.label_studio import HttpPeer, http_peer, judged_by_sdk
from support.scripted_gateway import ScriptedGateway, refusal
from support.web_server import web_server

STOP = types_pb2.FINISH_REASON_STOP
PNG = png()
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()

BOXES = """<View>
  <Image name="photo" value="$image"/>
  <RectangleLabels name="what" toName="photo">
    <Label value="Cat"/><Label value="Dog" predicted_values="dog, puppy"/>
  </RectangleLabels>
</View>"""
OUTLINES = """<View>
  <Image name="photo" value="$image"/>
  <PolygonLabels name="what" toName="photo" model_score_threshold="0.6">
    <Label value="Cat"/><Label value="Dog"/>
  </PolygonLabels>
</View>"""
# The template "Optical character recognition" of Label Studio.
OCR = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <Labels name="label" toName="image">
    <Label value="Text" background="green"/><Label value="Handwriting" background="blue"/>
  </Labels>
  <Rectangle name="bbox" toName="image" strokeWidth="3"/>
  <Polygon name="poly" toName="image" strokeWidth="3"/>
  <TextArea name="transcription" toName="image" editable="true" perRegion="true"
            required="true" maxSubmissions="1" rows="5" displayMode="region-list"/>
</View>"""
WHOLE = """<View>
  <Image name="image" value="$image"/>
  <TextArea name="caption" toName="image" arno_task="DETAILED_CAPTION"/>
  <Choices name="kind" toName="image" choice="single">
    <Choice value="a photo" alias="photo"/><Choice value="a drawing" alias="drawing"/>
  </Choices>
  <Choices name="seen" toName="image" choice="multiple">
    <Choice value="cat"/><Choice value="dog"/>
  </Choices>
</View>"""


@pytest.fixture(scope="module")
def peer() -> Iterator[HttpPeer]:
    with http_peer() as peer:
        yield peer


@pytest.fixture(scope="module")
def url(_gateway: ScriptedGateway, peer: HttpPeer, tmp_path_factory: Any) -> Iterator[str]:
    """A web server that was told of a Label Studio, a listed host and a folder."""
    folder = tmp_path_factory.mktemp("local-files")
    (folder / "a.png").write_bytes(PNG)
    (folder.parent / "outside.png").write_bytes(PNG)
    fields = {
        "web_label_studio_url": peer.url,
        "web_label_studio_key": "token",
        "web_label_studio_wait_s": 1.5,
        "web_label_studio_tasks_max": 3,
        "web_image_hosts": ("localhost", "images.example"),
        "web_image_folders": (folder,),
        "web_image_bytes_max": 5000,
    }
    with web_server(_gateway.address, **fields) as url:
        yield url


@pytest.fixture(autouse=True)
def _forget(peer: HttpPeer) -> None:
    peer.pages.clear()
    peer.seen.clear()


def request(config: str, *images: object) -> dict[str, Any]:
    """The body of Label Studio's call for predictions."""
    tasks = [
        {"id": 10 + number, "data": {"image": image}, "project": 1}
        for number, image in enumerate(images)
    ]
    params = {"login": None, "password": None, "context": None}
    return {"tasks": tasks, "project": "1.17", "label_config": config, "params": params}


def predicted(http: httpx2.Client, config: str) -> dict[str, Any]:
    """The prediction for a task, with which Label Studio's SDK finds nothing wrong."""
    answer = http.post("/predict", json=request(config, DATA_URL))
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["results"]
    assert judged_by_sdk(config, prediction) == [[]]
    return prediction


def outline(*points: tuple[float, float]) -> types_pb2.Polygon:
    return types_pb2.Polygon(points=[types_pb2.Point(x=x, y=y) for x, y in points])


def test_rectangles_have_labels_scores_and_the_version_of_the_model(http, gateway):
    found = [region("cat", 20, 10, 60, 60), region("puppy", 100, 50, 201, 90, score=0.5)]
    gateway.answer = response(detection(*found, region("cow", 0, 0, 9, 9), id="0"))
    prediction = predicted(http, BOXES)
    assert prediction["score"] == pytest.approx(0.7)
    assert prediction["model_version"] == "arno-tiny f"
    cat, dog = prediction["result"]
    assert cat == {
        "id": "photo-0",
        "type": "rectanglelabels",
        "from_name": "what",
        "to_name": "photo",
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        "score": 0.9,
        "value": {
            **{"x": 10.0, "y": 10.0, "width": 20.0, "height": 50.0, "rotation": 0},
            "rectanglelabels": ["Cat"],
        },
    }
    assert dog["value"]["rectanglelabels"] == ["Dog"]
    assert dog["value"]["x"] + dog["value"]["width"] == 100.0
    (task,) = gateway.requests[0].tasks
    assert task.task == types_pb2.TASK_OPEN_VOCABULARY_DETECTION
    assert list(task.classes) == ["cat", "dog", "puppy"]
    assert task.min_score == pytest.approx(0.3)
    assert gateway.requests[0].image.content == PNG


def test_outlines_are_asked_for_label_by_label(http, gateway):
    shape = types_pb2.Polygons(
        polygons=[outline((20, 10), (60, 10), (40, 60)), outline((0, 0), (10, 0))]
    )
    masks = types_pb2.SegmentationAnswer(regions=[types_pb2.Region(polygons=shape, score=0.7)])
    results = [
        types_pb2.TaskResult(
            id="0", answer=types_pb2.Answer(finish_reason=STOP, segmentation=masks)
        ),
        types_pb2.TaskResult(
            id="1",
            answer=types_pb2.Answer(
                finish_reason=STOP, segmentation=types_pb2.SegmentationAnswer()
            ),
        ),
    ]
    for result in results:
        result.task = types_pb2.TASK_REFERRING_EXPRESSION_SEGMENTATION
    gateway.answer = response(*results)
    (entry,) = predicted(http, OUTLINES)["result"]
    assert entry["type"] == "polygonlabels"
    assert entry["value"]["polygonlabels"] == ["Cat"]
    assert entry["value"]["points"] == [[10.0, 10.0], [30.0, 10.0], [20.0, 60.0]]
    asked = gateway.requests[0].tasks
    assert [(task.text, round(task.min_score, 2)) for task in asked] == [
        ("cat", 0.6),
        ("dog", 0.6),
    ]


def test_texts_have_a_place_a_label_and_a_transcription_under_one_id(http, gateway):
    quad = types_pb2.QuadBox(
        points=[types_pb2.Point(x=x, y=y) for x, y in ((20, 10), (60, 12), (60, 22), (20, 20))]
    )
    word = types_pb2.Region(label="<b>EXIT</b>", quad_box=quad, score=0.8)
    answer = types_pb2.Answer(finish_reason=STOP, ocr=types_pb2.OcrAnswer(regions=[word]))
    gateway.answer = response(
        types_pb2.TaskResult(id="0", task=types_pb2.TASK_OCR_WITH_REGION, answer=answer)
    )
    place, label, text = predicted(http, OCR)["result"]
    assert [one["type"] for one in (place, label, text)] == ["polygon", "labels", "textarea"]
    assert len({one["id"] for one in (place, label, text)}) == 1
    assert label["value"]["labels"] == ["Text"]
    assert text["value"]["text"] == ["<b>EXIT</b>"]
    points = [value for pair in place["value"]["points"] for value in pair]
    assert points == pytest.approx([10, 10, 30, 12, 30, 22, 10, 20])
    assert text["value"]["points"] == place["value"]["points"]
    (task,) = gateway.requests[0].tasks
    assert task.task == types_pb2.TASK_OCR_WITH_REGION


def test_captions_and_choices_are_about_the_whole_image(http, gateway):
    judged = caption("A cat.", id="1")
    for posterior in (0.2, 0.8):
        judged.answer.candidates.add(posterior=posterior, answer=caption("a photo").answer)
    seen = detection(region("dog", 1, 2, 30, 40, score=0.6), id="2")
    gateway.answer = response(caption("A cat on a mat."), detection(), judged, seen)
    text, kind, several = predicted(http, WHOLE)["result"]
    assert (text["type"], text["value"]) == ("textarea", {"text": ["A cat on a mat."]})
    assert kind["value"] == {"choices": ["drawing"]}
    assert kind["score"] == pytest.approx(0.8)
    assert several["value"] == {"choices": ["dog"]}
    told, _, asked, listed = gateway.requests[0].tasks
    assert told.task == types_pb2.TASK_DETAILED_CAPTION
    assert [one.text for one in asked.candidates] == ["a photo", "a drawing"]
    assert list(listed.classes) == ["cat", "dog"]


def test_setup_names_the_model_and_health_says_up(http):
    assert http.get("/health").json()["status"] == "UP"
    body = {"project": "1.17", "schema": BOXES, "hostname": "", "access_token": "x"}
    assert http.post("/setup", json=body).json() == {"model_version": "arno-tiny " + 12 * "f"}
    assert http.get("/versions").json() == {"versions": ["arno-tiny " + 12 * "f"]}
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 1}}
    assert http.post("/webhook", json=event).status_code == 200


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "must be the labeling configuration"),
        ("<View>", "not XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>', "document type or an entity"),
        ('<View><Text name="t" value="$t"/></View>', "there is no image"),
        (
            '<View><Image name="i" value="$i"/><KeyPointLabels name="k" toName="i"/></View>',
            "no control that can be filled; allowed: RectangleLabels",
        ),
        (
            '<View><Image name="i" value="$i"/><RectangleLabels name="k" toName="i"/></View>',
            "label_config.k: has no label",
        ),
        (OUTLINES.replace("0.6", "much"), "label_config.what: model_score_threshold is no score"),
        (WHOLE.replace("DETAILED_CAPTION", "OD"), "arno_task is no task that fills this control"),
        (
            BOXES.replace("Rectangle", "Polygon").replace(
                '<Label value="Cat"/>', "".join(f'<Label value="l{n}"/>' for n in range(70))
            ),
            "too many labels; allowed: 64 tasks an image; sent: 72 tasks",
        ),
    ],
)
def test_setup_says_what_is_wrong_with_a_label_config(http, config, said):
    answer = http.post("/setup", json={"project": "1.1", "schema": config})
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


def test_health_says_that_the_gateway_is_away():
    with web_server("127.0.0.1:1") as url, httpx2.Client(base_url=url) as client:
        assert client.get("/health").status_code == 503


def test_task_that_fails_leaves_the_others_their_predictions(http, gateway):
    answer = http.post("/predict", json=request(BOXES, "no address", DATA_URL)).json()
    assert answer["results"][0] == []
    assert answer["results"][1]["result"][0]["value"]["rectanglelabels"] == ["Cat"]
    assert [one.lane for one in gateway.requests] == [types_pb2.LANE_BATCH]
    failed = http.post("/predict", json=request(BOXES, "no address"))
    assert failed.status_code == 400
    assert "tasks[id=10].data.image: no address of an image" in failed.json()["detail"]


def test_request_is_refused_as_a_whole_by_the_gateways_reason(http, gateway):
    gateway.refuse = refusal(8, "QUOTA_EXCEEDED", "too many")
    answer = http.post("/predict", json=request(BOXES, DATA_URL))
    assert (answer.status_code, answer.json()["reason"]) == (429, "QUOTA_EXCEEDED")
    gateway.refuse = None
    many = http.post("/predict", json=request(BOXES, *4 * [DATA_URL])).json()
    assert "tasks: too many (web_label_studio_tasks_max); allowed: 3" in many["detail"]
    none = http.post("/predict", json={"label_config": BOXES}).json()
    assert "tasks: must be a list" in none["detail"]
    assert http.post("/predict", json=request(BOXES)).json()["results"] == []


def test_key_may_be_the_password_of_label_studios_basic_authentication(http, gateway):
    http.post("/predict", json=request(BOXES, DATA_URL), auth=("label-studio", "arno_key"))
    assert set(gateway.keys) == {"arno_key"}
    broken = http.get("/versions", headers={"authorization": "Basic ?"})
    assert broken.status_code == 401


def test_slow_prediction_comes_later_by_itself_and_the_request_is_answered_in_time(
    http, gateway, peer
):
    gateway.hang = True
    peer.pages["/api/predictions/"] = (201, {}, b"{}")
    answer = http.post("/predict", json=request(BOXES, DATA_URL)).json()
    assert (answer["results"], answer["pending"]) == ([[]], [10])
    gateway.hang = False
    (sent,) = eventually(lambda: peer.bodies("/api/predictions/"), what="the late prediction")
    assert sent["task"] == 10
    assert sent["model_version"] == "arno-tiny f"
    assert judged_by_sdk(BOXES, sent) == [[]]
    assert peer.seen[-1][2]["Authorization"] == "Token token"
    # The same question again finds the same job.
    http.post("/predict", json=request(BOXES, DATA_URL))
    assert len({one.idempotency_key for one in gateway.requests}) == 1


def test_prediction_that_is_asked_for_again_does_not_come_twice(http, gateway, peer):
    gateway.hang = True
    http.post("/predict", json=request(BOXES, DATA_URL))
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(http.post, "/predict", json=request(BOXES, DATA_URL))
        eventually(lambda: len(gateway.requests) == 2, what="the second request has asked")
        gateway.hang = False
    assert again.result().json()["results"][0]["result"]
    assert peer.bodies("/api/predictions/") == []


def test_uploads_come_from_label_studio_with_its_token(http, gateway, peer):
    peer.pages["/data/upload/1/a.png"] = (200, {}, PNG)
    peer.pages["/tasks/11/presign/?fileuri=czM6Ly9iL2EucG5n"] = (
        303,
        {"Location": f"{peer.url.replace('127.0.0.1', 'localhost')}/signed?secret=1"},
        b"",
    )
    uploads = request(BOXES, "/data/upload/1/a.png", "s3://b/a.png", "/data/local-files/?d=a.png")
    answer = http.post("/predict", json=uploads).json()
    # A listed host may still not have an address of this machine.
    assert [bool(one) for one in answer["results"]] == [True, False, True]
    assert {one[1] for one in peer.seen} == {
        "/data/upload/1/a.png",
        "/tasks/11/presign/?fileuri=czM6Ly9iL2EucG5n",
    }
    assert {one[2]["Authorization"] for one in peer.seen} == {"Token token"}


@pytest.mark.parametrize(
    ("image", "status", "said"),
    [
        ("https://other.example/a.png", 400, "its host is not listed (web_image_hosts)"),
        ("http://127.0.0.1:9/a.png", 400, "its host is not listed"),
        ("http://[images.example/a.png", 400, "no address of an image"),
        ("http://localhost:9/a.png?token=1", 400, "http://localhost:9/a.png was not fetched"),
        ("http://localhost:9/a.png", 400, "127.0.0.1, which is private; web_image_private allows"),
        ("/data/local-files/?d=../outside.png", 400, "was not fetched: status 404"),
        ("/data/upload/1/none.png", 400, "status 404"),
        ("/data/upload/1/large.png", 400, "too large (web_image_bytes_max); allowed: 5000"),
        ("/data/upload/1/away.png", 400, "its host is not listed"),
        ("/data/upload/1/round.png", 400, "more than 3 redirects"),
        ("file:///etc/passwd", 400, "no address of an image"),
        ("data:image/png,abc", 400, "a data URL must be in base64"),
        (7, 400, "must be the address of an image"),
    ],
)
def test_images_come_from_listed_places_alone(http, peer, image, status, said):
    peer.pages["/data/upload/1/large.png"] = (200, {}, bytes(5001))
    peer.pages["/data/upload/1/away.png"] = (302, {"Location": "http://10.0.0.1/a"}, b"")
    peer.pages["/data/upload/1/round.png"] = (302, {"Location": "round.png"}, b"")
    answer = http.post("/predict", json=request(BOXES, image))
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    assert "token=1" not in answer.text


def test_host_may_be_private_where_that_is_allowed(gateway, peer):
    peer.pages["/a.png"] = (200, {}, PNG)
    fields = {"web_image_hosts": (urlsplit(peer.url).netloc,), "web_image_private": True}
    with web_server(gateway.address, **fields) as url:
        answer = httpx2.post(f"{url}/predict", json=request(BOXES, f"{peer.url}/a.png"), timeout=20)
    assert answer.json()["results"][0]["result"]
    assert "Authorization" not in peer.seen[0][2]


def test_personal_token_is_changed_for_access(gateway, peer):
    access = (200, {"Content-Type": "application/json"}, b'{"access": "short"}')
    peer.pages["/api/token/refresh"] = access
    peer.pages["/data/upload/1/a.png"] = (200, {}, PNG)
    fields = {"web_label_studio_url": peer.url, "web_label_studio_key": "a.b.c"}
    with web_server(gateway.address, **fields) as url:
        body = request(BOXES, "/data/upload/1/a.png")
        assert httpx2.post(f"{url}/predict", json=body, timeout=20).json()["results"][0]
    assert peer.bodies("/api/token/refresh") == [{"refresh": "a.b.c"}]
    assert peer.seen[-1][2]["Authorization"] == "Bearer short"


def test_label_studio_is_not_waited_for_without_its_address(gateway):
    with web_server(gateway.address) as url:
        body = request(BOXES, "/data/upload/1/a.png")
        answer = httpx2.post(f"{url}/predict", json=body, timeout=20)
    assert "web_label_studio_url does not say where it is" in answer.json()["detail"]


def test_folder_is_not_left_by_a_link(gateway, tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(PNG)
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    with web_server(gateway.address, web_image_folders=(folder,)) as url:
        body = request(BOXES, "/data/local-files/?d=link.png")
        answer = httpx2.post(f"{url}/predict", json=body, timeout=20)
    assert answer.status_code == 400
