"""A gRPC server on a loopback port that answers what a test tells it to, and keeps what it heard.

For tests of clients: what must be answered here (a refusal, a label full of HTML, half a job) takes
long to bring about in a real gateway. tests/e2e runs the same clients against real ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from arno.api.v1 import job_pb2, job_pb2_grpc, types_pb2, vision_pb2, vision_pb2_grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from support.answers import detection, region, response


def refusal(code: int, reason: str, message: str, **metadata: str) -> grpc.Status:
    """Return the status of a refused call, as a gateway writes it."""
    status = Status(code=code, message=message)
    details = [ErrorInfo(reason=reason, domain="arno", metadata=metadata)]
    for detail in (*details, *([RetryInfo()] if code == 14 else [])):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return rpc_status.to_status(status)


class ScriptedGateway(
    vision_pb2_grpc.VisionServiceServicer,
    job_pb2_grpc.JobServiceServicer,
    health_pb2_grpc.HealthServicer,
):
    """Set what it answers before a call; its threads read it.

    Attributes:
        answer: Of `Infer`, and the result of every job.
        answer_to: Makes the answer of `Infer` from its image, in place of `answer`; None for none.
        refuse: The status that ends every call; None answers.
        hang: Calls of `Infer` and `WatchJob` wait until this is cleared, or their caller goes.
        keys: The keys that calls showed.
        requests: The messages of `Infer` and `SubmitJob`.
        left: Set once a caller hung up.
        models: What `ListModels` answers.
        deleted: Ids of jobs that were deleted.
    """

    def __init__(self) -> None:
        self.address = ""
        self.forget()

    def forget(self) -> None:
        """Begin anew: one cat, nothing heard."""
        self.answer = response(detection(region("cat", 1, 2, 30, 40), id="0"))
        self.answer_to: Callable[[bytes], vision_pb2.InferResponse] | None = None
        self.refuse: grpc.Status | None = None
        self.hang = False
        self.models = [types_pb2.Model(name="arno-tiny", fingerprint="f" * 64, dtype="float32")]
        self.keys: list[str] = []
        self.requests: list[vision_pb2.InferRequest | job_pb2.SubmitJobRequest] = []
        self.left = threading.Event()
        self.deleted: list[str] = []

    def Check(self, request, context):
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    def Watch(self, request, context):
        yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(60)

    def Infer(self, request, context):
        self._begin(request, context)
        self._wait(context)
        return self.answer if self.answer_to is None else self.answer_to(request.image.content)

    def ListModels(self, request, context):
        self._begin(None, context)
        return vision_pb2.ListModelsResponse(models=self.models)

    def SubmitJob(self, request, context):
        self._begin(request, context)
        return job_pb2.SubmitJobResponse(job=self._job(job_pb2.JOB_STATE_QUEUED))

    def GetJob(self, request, context):
        self._begin(None, context)
        return job_pb2.GetJobResponse(job=self._job(job_pb2.JOB_STATE_SUCCEEDED, self.answer))

    def WatchJob(self, request, context):
        self._begin(None, context)
        results = self.answer.results
        for count in range(len(results)):
            so_far = response(*results[:count])
            yield job_pb2.WatchJobResponse(job=self._job(job_pb2.JOB_STATE_DECODING, so_far))
        self._wait(context)
        self._begin(None, context)
        done = self._job(job_pb2.JOB_STATE_SUCCEEDED, self.answer)
        yield job_pb2.WatchJobResponse(job=done)

    def CancelJob(self, request, context):
        self._begin(None, context)
        return job_pb2.CancelJobResponse(job=self._job(job_pb2.JOB_STATE_CANCELLED))

    def DeleteJob(self, request, context):
        self._begin(None, context)
        self.deleted.append(request.job_id)
        return job_pb2.DeleteJobResponse()

    def _begin(self, request, context):
        shown = dict(context.invocation_metadata()).get("authorization", "")
        self.keys.append(shown.removeprefix("Bearer "))
        if request is not None:
            self.requests.append(request)
        if self.refuse is not None:
            context.abort_with_status(self.refuse)

    def _wait(self, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        while self.hang and not gone.wait(0.01):
            pass
        if gone.is_set():
            self.left.set()

    def _job(self, state, so_far: vision_pb2.InferResponse | None = None):
        return job_pb2.Job(id="job-1", state=state, response=so_far)


@contextmanager
def scripted_gateway(gateway: ScriptedGateway | None = None) -> Iterator[ScriptedGateway]:
    """Serve on a free port; another gateway than the plain one where it is given."""
    gateway = gateway or ScriptedGateway()
    server = grpc.server(ThreadPoolExecutor(16))
    vision_pb2_grpc.add_VisionServiceServicer_to_server(gateway, server)
    job_pb2_grpc.add_JobServiceServicer_to_server(gateway, server)
    health_pb2_grpc.add_HealthServicer_to_server(gateway, server)
    gateway.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield gateway
    finally:
        gateway.hang = False
        server.stop(None).wait()
