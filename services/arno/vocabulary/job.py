"""Name what every process says about jobs: lanes, states, tenants, stream policies.

The names are those of the API's enums, so `wire` needs no table.
"""

from enum import StrEnum
from typing import Final

DEFAULT_TENANT: Final = "default"
"""The tenant of every job where no API keys are needed."""


HEALTH_OF_ROUTING: Final = "arno.routing"
"""The name under which gRPC's health service says whether new calls should come to a gateway.

It is NOT_SERVING from the moment at which the gateway begins to leave, and SERVING before, whatever
its backends do: without them a gateway still answers, with a reason and a retry delay.
"""


class Lane(StrEnum):
    """A priority class; also the last part of its topic's name."""

    INTERACTIVE = "interactive"
    STREAM = "stream"
    BATCH = "batch"


class JobState(StrEnum):
    """How a job stands."""

    QUEUED = "QUEUED"
    ENCODING = "ENCODING"
    DECODING = "DECODING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @property
    def ended(self) -> bool:
        """Whether the state is terminal."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}


class StreamPolicy(StrEnum):
    """What a stream does when frames come faster than answers."""

    ALL = "ALL"
    """Every frame is answered, and the sender is slowed down."""

    LATEST = "LATEST"
    """Only the newest waiting frame is kept; the others are reported as dropped."""

    EVERY = "EVERY"
    """Only every N-th frame is answered, starting with the first."""
