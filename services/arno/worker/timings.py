"""Carry how long the stages of a job took, and write them into answers."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from arno.api.v1 import types_pb2


@dataclass(frozen=True, slots=True)
class StageTimes:
    """The stages that all tasks of a job share.

    Attributes:
        queue_s: From the gateway's acceptance to this worker's taking the job.
        prepare_s: Preparing the image.
    """

    queue_s: float
    prepare_s: float

    def of_sequence(self, encode_s: float, decode_s: float) -> types_pb2.Timings:
        """Return the message, with the stages of one sequence."""
        return types_pb2.Timings(
            queue=_duration(self.queue_s),
            prepare=_duration(self.prepare_s),
            encode=_duration(encode_s),
            decode=_duration(decode_s),
        )


def _duration(seconds: float) -> Duration:
    # The wall clocks of two machines may differ by a little: no stage took less than no time.
    duration = Duration()
    duration.FromNanoseconds(max(0, round(seconds * 1e9)))
    return duration
