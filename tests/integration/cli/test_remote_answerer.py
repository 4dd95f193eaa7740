"""Questions put to a gateway over gRPC: grouped, waited for, answered one by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from arno.api.v1 import types_pb2, vision_pb2, vision_pb2_grpc
from arno.cli.eval.remote_answerer import RemoteAnswerer
from arno.client import Client
from arno.errors import InvalidImageError, ModelError, QuotaExceededError, UnavailableError
from arno.training.evaluation.answering import DecodingChoice
from arno.vocabulary import Answer, Task, TextAnswer
from arno.vocabulary.wire import answer_to_wire
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from support.judging import answered, question


def refusal(code: int, reason: str, **metadata: str):
    status = Status(code=code, message=reason)
    for detail in (ErrorInfo(reason=reason, domain="arno", metadata=metadata), RetryInfo()):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return rpc_status.to_status(status)


class Gateway(vision_pb2_grpc.VisionServiceServicer):
    """Says to each question what it was asked, or what the test wants."""

    def __init__(self):
        self.requests: list[vision_pb2.InferRequest] = []
        self.refusals = []
        self.models = []
        self.failing = ""

    def Infer(self, request, context):
        self.requests.append(request)
        if self.refusals:
            context.abort_with_status(self.refusals.pop(0))
        response = vision_pb2.InferResponse(job_id="j", model=types_pb2.Model(name="m"))
        response.model.fingerprint = self.models.pop(0) if self.models else "f"
        for spec in request.tasks:
            result = response.results.add(id=spec.id, task=spec.task)
            if spec.text and spec.text == self.failing:
                result.error.reason, result.error.code = "ENGINE_FAILED", 13
            else:
                result.answer.CopyFrom(answer_to_wire(answered(TextAnswer(f"to {spec.text}"))))
        return response


@pytest.fixture
def gateway():
    servicer = Gateway()
    server = grpc.server(ThreadPoolExecutor(4))
    vision_pb2_grpc.add_VisionServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    server.stop(None).wait()


@pytest.fixture
def answerer(gateway):
    with Client(gateway.address) as client:
        answerer = RemoteAnswerer(client, DecodingChoice(2, 9), parallel=2, patience_s=0)
        assert answerer.model.fingerprint == "f"
        gateway.requests.clear()
        yield answerer


def about(image: str, count: int):
    return [
        question(Task.PROMPT, TextAnswer("x"), name=f"{image}{n}", image=image, text=f"{image}{n}")
        for n in range(count)
    ]


def said(replies) -> dict[str, object]:
    return {
        one.question_id: one.outcome.value.text if isinstance(one.outcome, Answer) else one.outcome
        for one in replies
    }


def test_model_is_known_by_its_address_and_fingerprint(answerer, gateway):
    assert (answerer.model.name, answerer.model.where) == ("m", gateway.address)


def test_questions_of_an_image_are_one_request_of_at_most_32_tasks(answerer, gateway):
    asked = [*about("a", 40), *about("b", 2)]
    assert said(answerer.ask(asked)) == {one.spec.text: f"to {one.spec.text}" for one in asked}
    assert sorted(len(request.tasks) for request in gateway.requests) == [2, 8, 32]
    options = {
        (task.options.num_beams, task.options.max_new_tokens)
        for request in gateway.requests
        for task in request.tasks
    }
    assert options == {(2, 9)}
    assert {request.lane for request in gateway.requests} == {types_pb2.LANE_BATCH}


def test_task_that_fails_is_the_reply_to_its_question_alone(answerer, gateway):
    gateway.failing = "a1"
    replies = said(answerer.ask(about("a", 3)))
    assert replies["a0"] == "to a0"
    assert replies["a2"] == "to a2"
    assert replies["a1"].reason == "ENGINE_FAILED"


def test_request_that_is_refused_is_the_reply_to_all_its_questions(answerer, gateway):
    gateway.refusals = [refusal(3, "INVALID_IMAGE", field="image", problem="broken")]
    replies = said(answerer.ask([*about("a", 2)]))
    assert [type(one) for one in replies.values()] == [InvalidImageError] * 2


def test_server_that_was_full_for_a_moment_is_asked_again(answerer, gateway):
    gateway.refusals = [refusal(14, "OVERLOADED")] * 2
    assert said(answerer.ask(about("a", 1))) == {"a0": "to a0"}


def test_quota_that_was_used_up_for_a_moment_is_waited_for(gateway):
    gateway.refusals = [refusal(8, "QUOTA_EXCEEDED")] * 2
    with Client(gateway.address) as client:
        patient = RemoteAnswerer(client, DecodingChoice(2, 9), parallel=2)
        assert said(patient.ask(about("a", 1))) == {"a0": "to a0"}


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [(14, "OVERLOADED", UnavailableError), (8, "QUOTA_EXCEEDED", QuotaExceededError)],
)
def test_server_that_stays_full_ends_the_run(answerer, gateway, code, reason, error):
    gateway.refusals = [refusal(code, reason)] * 50
    with pytest.raises(error):
        list(answerer.ask(about("a", 1)))


def test_other_model_in_the_middle_ends_the_run(answerer, gateway):
    gateway.models = ["f", "other"]
    with pytest.raises(ModelError, match="another model than before"):
        list(answerer.ask([*about("a", 1), *about("b", 1)]))
