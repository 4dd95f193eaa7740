"""HTTP/JSON: what is sent reaches the gateway as it was meant, and its word comes back."""

from __future__ import annotations

import base64
import json
import socket
import time
from urllib.parse import urlsplit

import httpx2
import pytest
from arno.api.v1 import types_pb2
from arno.client import Tls
from integration.web.conftest import BODY_BYTES_MAX
from support.answers import caption, detection, region, response
from support.certificates import Authority
from support.eventually import eventually
from support.images import png
from support.scripted_gateway import refusal
from support.web_server import web_server

IMAGE = base64.b64encode(png()).decode()


def events_of(answer: httpx2.Response) -> list[tuple[str, dict]]:
    found = []
    for block in answer.text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_form_with_a_file_reaches_the_gateway(http, gateway):
    spec = {"task": "REGION_TO_OCR", "region": [1, 2, 3, 4], "id": "r"}
    answer = http.post(
        "/v1/infer",
        files={"image": ("a.png", png())},
        data={"task": ["OD", json.dumps(spec)], "lane": "batch", "idempotency_key": "k"},
    )
    assert answer.status_code == 200, answer.text
    (request,) = gateway.requests
    assert request.image.content == png()
    assert [one.task for one in request.tasks] == [
        types_pb2.TASK_OD,
        types_pb2.TASK_REGION_TO_OCR,
    ]
    assert request.tasks[1].region == types_pb2.Box(x0=1, y0=2, x1=3, y1=4)
    assert (request.lane, request.idempotency_key) == (types_pb2.LANE_BATCH, "k")
    (region,) = answer.json()["results"][0]["answer"]["detection"]["regions"]
    assert region["box"] == {"x0": 1, "y0": 2, "x1": 30, "y1": 40}


@pytest.mark.parametrize(
    ("image", "task"),
    [
        (IMAGE, "OD"),
        (f"data:image/png;base64,{IMAGE}", {"task": "od"}),
        ({"content": IMAGE}, {"task": "TASK_OD", "options": {"numBeams": 2}}),
    ],
    ids=["short forms", "a data URL", "protobuf's own form"],
)
def test_json_reaches_the_gateway(http, gateway, image, task):
    answer = http.post("/v1/infer", json={"image": image, "tasks": [task]})
    assert answer.status_code == 200, answer.text
    assert gateway.requests[0].image.content == png()
    assert gateway.requests[0].tasks[0].task == types_pb2.TASK_OD


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"tasks": ["OD"]}, "image: there is no image"),
        ({"image": "!", "tasks": ["OD"]}, "image: not base64"),
        ({"image": "http://a.example/b.png", "tasks": ["OD"]}, "addresses are not fetched"),
        ({"image": IMAGE, "tasks": []}, "name at least one task"),
        ({"image": IMAGE, "tasks": ["OOD"]}, "tasks[0].task: unknown task; did you mean OD?"),
        ({"image": IMAGE, "tasks": ["OD"], "colour": 1}, 'no field named "colour"'),
        ({"image": IMAGE, "tasks": [{"task": "OD", "region": [1]}]}, "tasks[0].region: a region"),
        ({"image": IMAGE, "tasks": [{"task": "OD", "minScore": "much"}]}, "body: "),
        ([], "body: must be a JSON object"),
    ],
)
def test_bad_document_is_refused_with_its_field(http, gateway, document, said):
    answer = http.post("/v1/infer", json=document)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]
    assert not gateway.requests


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"{", "application/json"), (b"[" * 50_000, "application/json"), (b"x", "text/plain")],
    ids=["cut JSON", "deep JSON", "no JSON"],
)
def test_bad_body_is_refused(http, content, kind):
    answer = http.post("/v1/infer", content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_FIELD")


@pytest.mark.parametrize(
    "files",
    [[("image", png()), ("image", png())], [("image", png())] + [("task", (None, "OD"))] * 200],
    ids=["two files", "200 tasks"],
)
def test_form_with_too_many_parts_is_refused_with_a_reason(http, gateway, files):
    answer = http.post("/v1/infer", files=files)
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_FIELD")
    assert "Too many" in answer.json()["detail"]
    assert not gateway.requests


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (3, "INVALID_IMAGE", 400),
        (16, "UNAUTHENTICATED", 401),
        (5, "JOB_NOT_FOUND", 404),
        (6, "IDEMPOTENCY_CONFLICT", 409),
        (8, "QUOTA_EXCEEDED", 429),
        (13, "ENGINE_FAILED", 500),
        (4, "DEADLINE_EXCEEDED", 504),
    ],
)
def test_refusal_of_the_gateway_becomes_a_problem_with_the_same_reason(
    http, gateway, code, reason, status
):
    gateway.refuse = refusal(code, reason, "it is so", field="image", retry_delay_s="1.2")
    answer = http.post("/v1/infer", json={"image": IMAGE, "tasks": ["OD"]})
    assert answer.status_code == status
    problem = answer.json()
    assert problem["type"] == f"urn:arno:error:{reason}"
    assert (problem["reason"], problem["detail"], problem["status"]) == (reason, "it is so", status)
    assert problem["metadata"]["field"] == "image"
    assert answer.headers["retry-after"] == "2"
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_callers_key_goes_on_and_the_next_caller_does_not_show_it(http, gateway):
    body = {"image": IMAGE, "tasks": ["OD"]}
    http.post("/v1/infer", json=body, headers={"authorization": "Bearer arno_one"})
    http.post("/v1/infer", json=body, headers={"x-api-key": "arno_two"})
    http.post("/v1/infer", json=body)
    assert gateway.keys == ["arno_one", "arno_two", ""]


def test_key_that_no_header_can_hold_is_no_key(http):
    answer = http.get("/v1/jobs/j", headers={b"authorization": b"Bearer k\xc3\xa9"})
    assert (answer.status_code, answer.json()["reason"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example"},
    ],
    ids=str,
)
def test_page_of_another_origin_can_do_nothing(http, gateway, headers):
    answer = http.post("/v1/infer", files={"image": png()}, data={"task": "OD"}, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (403, "CROSS_SITE")
    assert not gateway.requests


def test_own_page_is_served(http, url):
    headers = {"origin": url, "sec-fetch-site": "same-origin"}
    answer = http.post("/v1/infer", files={"image": png()}, data={"task": "OD"}, headers=headers)
    assert answer.status_code == 200


def test_every_answer_has_a_strict_policy(http):
    for path in ("/v1/tasks", "/docs", "/nothing"):
        headers = http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_body_above_the_limit_is_refused_by_its_length(http, gateway):
    answer = http.post("/v1/infer", content=b"x" * (BODY_BYTES_MAX + 1))
    assert (answer.status_code, answer.json()["reason"]) == (413, "LIMIT_EXCEEDED")
    assert answer.json()["metadata"]["limit"] == f"{BODY_BYTES_MAX} bytes"


def test_body_without_a_length_is_refused_at_the_limit(http):
    def parts():
        for _ in range(3):
            yield b" " * (BODY_BYTES_MAX // 2)

    headers = {"content-type": "application/json"}
    answer = http.post("/v1/infer", content=parts(), headers=headers)
    assert answer.status_code == 413


def connected(url: str) -> socket.socket:
    port = urlsplit(url).port
    assert port is not None
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def announced(size_bytes: int) -> bytes:
    lines = ["POST /v1/infer HTTP/1.1", "host: localhost", "content-type: application/json"]
    return "\r\n".join([*lines, f"content-length: {size_bytes}", "", ""]).encode()


def test_slow_body_is_given_up(http, url):
    with connected(url) as slow:
        slow.sendall(announced(100) + b"{")
        said = b""
        while b"retryable" not in said:
            said += slow.recv(4096)
    assert said.startswith(b"HTTP/1.1 504")
    assert b"web_receive_timeout_s" in said


def test_bodies_in_hand_are_bounded_together(http, url):
    with connected(url) as one, connected(url) as other:
        for each in (one, other):
            each.sendall(announced(BODY_BYTES_MAX))
        # Both are announced, and neither has come: a third has no room until they are given up.
        headers = {"content-type": "application/json"}
        body = b" " * 60_000
        answer = eventually(
            lambda: refused_for_overload(http.post("/v1/infer", content=body, headers=headers)),
            timeout_s=5,
        )
        assert answer.headers["retry-after"] == "1"
    eventually(
        lambda: http.post("/v1/infer", content=body, headers=headers).status_code == 400,
        what="there is room again",
    )


def refused_for_overload(answer: httpx2.Response) -> httpx2.Response | None:
    return answer if answer.status_code == 503 else None


def test_caller_that_hangs_up_cancels_its_call(http, gateway):
    gateway.hang = True
    with pytest.raises(httpx2.ReadTimeout):
        http.post("/v1/infer", json={"image": IMAGE, "tasks": ["OD"]}, timeout=0.3)
    assert gateway.left.wait(10)


def test_time_limit_of_a_request_is_kept(http, gateway):
    gateway.hang = True
    before_s = time.monotonic()
    answer = http.post("/v1/infer?timeout_s=0.2", json={"image": IMAGE, "tasks": ["OD"]})
    assert (answer.status_code, answer.json()["reason"]) == (504, "DEADLINE_EXCEEDED")
    assert time.monotonic() - before_s < 10
    for wrong in ("0", "-1", "nan", "much", "601"):
        assert http.post(f"/v1/infer?timeout_s={wrong}", json={}).status_code == 400


def test_tasks_are_told_as_each_ends(http, gateway):
    gateway.answer = response(detection(region("cat", 1, 2, 3, 4), id="0"), caption("a", id="1"))
    headers = {"accept": "text/event-stream"}
    document = {"image": IMAGE, "tasks": ["OD", "CAPTION"]}
    answer = http.post("/v1/infer", json=document, headers=headers)
    told = events_of(answer)
    assert [name for name, _ in told] == ["job", "task", "task", "done"]
    assert [data["id"] for name, data in told if name == "task"] == ["0", "1"]
    assert len(told[-1][1]["results"]) == 2
    assert gateway.requests[0].lane == types_pb2.LANE_INTERACTIVE
    assert gateway.deleted == ["job-1"]


def test_listener_that_leaves_stops_its_job(http, gateway):
    gateway.hang = True
    headers = {"accept": "text/event-stream"}
    document = {"image": IMAGE, "tasks": ["OD"]}
    with http.stream("POST", "/v1/infer", json=document, headers=headers) as answer:
        next(answer.iter_lines())
    eventually(lambda: gateway.deleted == ["job-1"])


def test_refusal_before_the_first_event_is_a_status(http, gateway):
    gateway.refuse = refusal(3, "INVALID_IMAGE", "it is so")
    headers = {"accept": "text/event-stream"}
    document = {"image": IMAGE, "tasks": ["OD"]}
    assert http.post("/v1/infer", json=document, headers=headers).status_code == 400


def test_refusal_after_the_first_event_is_an_event(http, gateway):
    gateway.hang = True
    headers = {"accept": "text/event-stream"}
    document = {"image": IMAGE, "tasks": ["OD"]}
    with http.stream("POST", "/v1/infer", json=document, headers=headers) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: job"
        gateway.refuse = refusal(13, "STORED_JOB_INVALID", "it is so")
        gateway.hang = False
        rest = list(lines)
    told = rest[rest.index("event: error") + 1]
    assert json.loads(told.removeprefix("data: "))["reason"] == "STORED_JOB_INVALID"


def test_job_lives_its_life(http, gateway):
    stored = http.post("/v1/jobs", json={"image": IMAGE, "tasks": ["OD"], "timeToLive": "60s"})
    assert stored.status_code == 202
    where = stored.headers["location"]
    assert where == "/v1/jobs/job-1"
    assert gateway.requests[0].time_to_live.seconds == 60
    assert http.get(where).json()["state"] == "JOB_STATE_SUCCEEDED"
    told = events_of(http.get(f"{where}/events"))
    assert [data["state"] for _, data in told] == ["JOB_STATE_DECODING", "JOB_STATE_SUCCEEDED"]
    assert http.post(f"{where}/cancel").json()["state"] == "JOB_STATE_CANCELLED"
    assert http.delete(where).status_code == 204
    assert gateway.deleted == ["job-1"]


def test_unknown_paths_and_methods_are_problems_too(http):
    answer = http.get("/v1/nothing")
    assert (answer.status_code, answer.json()["detail"]) == (404, "GET /v1/nothing: Not Found")
    answer = http.get("/v1/infer")
    assert (answer.status_code, answer.json()["title"]) == (405, "Method Not Allowed")


def test_health_says_whether_the_gateway_answers(http):
    assert http.get("/livez").text == "ok\n"
    assert http.get("/readyz").status_code == 200


def test_page_learns_which_files_a_client_of_the_gateway_needs_and_not_where_they_are(
    http, gateway, tmp_path
):
    assert http.get("/about.json").json()["gatewayTls"] is None
    tls = Tls(root_certificates=Authority(tmp_path).ca)
    with web_server(gateway.address, tls) as web:
        answer = httpx2.get(f"{web}/about.json")
    assert answer.json()["gatewayTls"] == {"authority": True, "certificate": False}
    assert str(tmp_path) not in answer.text
