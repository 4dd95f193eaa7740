"""Every fault that Arno tells its callers about, as one tree.

Each class carries what a caller needs to act on it: the canonical ``code``, a stable ``reason``,
and whether a retry may help. Its message names the field, the limit and what was sent; its
``metadata`` holds the same facts for machines. This module does not depend on gRPC, Kafka or Redis:
the gateway translates once, in ``arno.gateway.status``.

    ArnoError
    +-- InvalidRequestError          INVALID_ARGUMENT: it can never succeed as it is
    |   +-- InvalidFieldError        a field holds what it may not hold, or lacks what it needs
    |       +-- LimitExceededError   a field is larger than a configured limit
    |       +-- InvalidImageError    the bytes are not an image that can be decoded
    |       +-- ImageUnreachableError  a reference to an image leads nowhere, or where it may not
    +-- UnauthenticatedError         UNAUTHENTICATED: no API key, or none that counts
    +-- CrossSiteError               PERMISSION_DENIED: a page of another origin sent the request
    +-- QuotaExceededError           RESOURCE_EXHAUSTED: the tenant has as much as it may have
    +-- UnknownJobError              NOT_FOUND
    +-- UnknownModelError            NOT_FOUND
    +-- IdempotencyConflictError     ALREADY_EXISTS
    +-- UnavailableError             UNAVAILABLE, with a retry delay
    |   +-- OverloadedError          a bound on work in flight is reached
    |   +-- BackendUnavailableError  the bus or the result store cannot be reached
    |   |   +-- BackendFullError     the result store has no memory left
    |   +-- DrainingError            the process is leaving
    |   +-- ImageLostError           the store has lost an accepted job's image
    +-- DeadlineExceededError        DEADLINE_EXCEEDED
    +-- CancelledError               CANCELLED
    +-- InputUnavailableError        FAILED_PRECONDITION: the task it follows gave nothing to use
    +-- PoisonedJobError             ABORTED: given up after its workers died at it
    +-- StoredJobError               INTERNAL: under the job's key is what Arno did not write
    +-- EngineError                  INTERNAL: the engine failed on this sequence alone
    +-- ModelError                   FAILED_PRECONDITION: a checkpoint that cannot be served
    +-- ConfigurationError           FAILED_PRECONDITION: a process refuses to start
    +-- MissingExtraError            FAILED_PRECONDITION: a part of Arno that is not installed
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar, Final, Self

FOREIGN_FAULT: Final = "fault"
"""Metadata of errors that repeat what a backend's client said: for us, not for callers."""


class Code(IntEnum):
    """Canonical status codes, with the numbers of google.rpc.Code."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class ArnoError(Exception):
    """Base of every error that a caller can get.

    Attributes:
        code: Canonical status code.
        reason: Stable UPPER_SNAKE name, at most 63 characters, listed in docs/errors.md.
        retryable: Whether the same request may succeed later.
        metadata: The variable parts of the message.
    """

    code: ClassVar[Code] = Code.UNKNOWN
    reason: ClassVar[str] = "UNKNOWN"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **metadata: str) -> None:
        """Take the sentence for people and its variable parts for machines."""
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = metadata

    def __reduce__(self) -> tuple[Any, ...]:
        """Let processes hand errors to each other: as they are, not made again by arguments."""
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[ArnoError], args: tuple[Any, ...]) -> ArnoError:
    return kind.__new__(kind, *args)


class InvalidRequestError(ArnoError):
    """The request can never succeed as it is."""

    code = Code.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"


class InvalidFieldError(InvalidRequestError):
    """A field holds what it may not hold, or lacks what it needs."""

    reason = "INVALID_FIELD"

    def __init__(
        self, *, field: str, problem: str, limit: str | None = None, sent: str | None = None
    ) -> None:
        """Name the field (``tasks[2].region``), the problem, what is allowed and what was sent."""
        facts = {"field": field, "problem": problem}
        message = f"{field}: {problem}"
        if limit is not None:
            facts["limit"] = limit
            message += f"; allowed: {limit}"
        if sent is not None:
            facts["sent"] = sent
            message += f"; sent: {sent or 'nothing'}"
        super().__init__(message, **facts)
        self.field = field
        self.problem = problem

    def renamed(self, field: str) -> Self:
        """Return the same error about another field, such as that of an enclosing message."""
        facts = self.metadata
        return type(self)(
            field=field, problem=self.problem, limit=facts.get("limit"), sent=facts.get("sent")
        )


class LimitExceededError(InvalidFieldError):
    """A field is larger than a configured limit."""

    reason = "LIMIT_EXCEEDED"


class InvalidImageError(InvalidFieldError):
    """The bytes are not an image that can be decoded."""

    reason = "INVALID_IMAGE"


class ImageUnreachableError(InvalidFieldError):
    """A reference to an image leads nowhere, or where it may not lead."""

    reason = "IMAGE_UNREACHABLE"


class UnauthenticatedError(ArnoError):
    """No API key was shown, or one that does not count."""

    code = Code.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class CrossSiteError(ArnoError):
    """A browser sent the request for a page of another origin, or to a name that is not ours."""

    code = Code.PERMISSION_DENIED
    reason = "CROSS_SITE"


class QuotaExceededError(ArnoError):
    """The caller's tenant has as much as it may have; others are served."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "QUOTA_EXCEEDED"
    retryable = True

    def __init__(self, *, quota: str, limit: str, wanted: str = "", retry_delay_s: float) -> None:
        """Name the quota, what it allows, what it would have come to, and when to try again."""
        would = f"would be {wanted}; " if wanted else ""
        facts = {"quota": quota, "limit": limit, "retry_delay_s": f"{retry_delay_s:.3g}"}
        if wanted:
            facts["wanted"] = wanted
        super().__init__(f"quota {quota}: {would}allowed: {limit}", **facts)
        self.retry_delay_s = retry_delay_s


class UnknownJobError(ArnoError):
    """There is no such job, or no longer, or it is another tenant's."""

    code = Code.NOT_FOUND
    reason = "JOB_NOT_FOUND"

    def __init__(self, job_id: str) -> None:
        """Name the job that was asked for."""
        super().__init__(
            f"job_id: no job {job_id!r}, or its time to live has passed", job_id=job_id
        )


class UnknownModelError(ArnoError):
    """A request names a model that this server does not serve."""

    code = Code.NOT_FOUND
    reason = "MODEL_NOT_FOUND"

    def __init__(self, model: str, served: str) -> None:
        """Name the model that was asked for, and the one that is served."""
        super().__init__(
            f"model: {model!r} is not served; allowed: {served}", field="model", limit=served
        )


class IdempotencyConflictError(ArnoError):
    """The idempotency key was used with another body."""

    code = Code.ALREADY_EXISTS
    reason = "IDEMPOTENCY_CONFLICT"

    def __init__(self, key: str, job_id: str) -> None:
        """Name the key and the job that holds it."""
        super().__init__(
            f"idempotency_key: {key!r} was used with another body, by job {job_id}",
            idempotency_key=key,
            job_id=job_id,
        )


class UnavailableError(ArnoError):
    """The server cannot take the request now; the same request may succeed after the delay."""

    code = Code.UNAVAILABLE
    reason = "UNAVAILABLE"
    retryable = True

    def __init__(self, message: str, *, retry_delay_s: float = 1.0, **metadata: str) -> None:
        """Take the delay after which a retry makes sense, in seconds."""
        super().__init__(message, retry_delay_s=f"{retry_delay_s:g}", **metadata)
        self.retry_delay_s = retry_delay_s


class OverloadedError(UnavailableError):
    """A bound on work in flight is reached."""

    reason = "OVERLOADED"


class BackendUnavailableError(UnavailableError):
    """The bus or the result store cannot be reached."""

    reason = "BACKEND_UNAVAILABLE"


class BackendFullError(BackendUnavailableError):
    """The result store has no memory left: it is read and cleared, and takes nothing new."""


class DrainingError(UnavailableError):
    """This process is leaving and takes no new work."""

    reason = "DRAINING"


class ImageLostError(UnavailableError):
    """The blob store no longer holds the image of an accepted job; sent again, it runs."""

    reason = "IMAGE_LOST"

    def __init__(self, sha256: str) -> None:
        """Name the image by its digest."""
        super().__init__(
            f"image: the store has lost image {sha256} before a worker could read it; send the "
            "request again",
            field="image",
            sha256=sha256,
        )


class ImageNotFetchedError(ArnoError):
    """The image of a task could not be fetched from where the task says that it is."""

    code = Code.FAILED_PRECONDITION
    reason = "IMAGE_NOT_FETCHED"
    retryable = True


class DeadlineExceededError(ArnoError):
    """The deadline passed before the work was done."""

    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class CancelledError(ArnoError):
    """The caller cancelled the work."""

    code = Code.CANCELLED
    reason = "CANCELLED"


class InputUnavailableError(ArnoError):
    """The task that this one follows gave nothing that it could use."""

    code = Code.FAILED_PRECONDITION
    reason = "INPUT_UNAVAILABLE"


class PoisonedJobError(ArnoError):
    """Too many workers died with the job in flight, so it was given up."""

    code = Code.ABORTED
    reason = "POISONED_JOB"


class StoredJobError(ArnoError):
    """Under the job's key the store holds what Arno did not write; asking again cannot help."""

    code = Code.INTERNAL
    reason = "STORED_JOB_INVALID"


class EngineError(ArnoError):
    """The engine failed on this sequence; its neighbours were not affected."""

    code = Code.INTERNAL
    reason = "ENGINE_FAILED"
    retryable = True


class ModelError(ArnoError):
    """A checkpoint that cannot be served."""

    code = Code.FAILED_PRECONDITION
    reason = "MODEL_INVALID"


class ConfigurationError(ArnoError):
    """A process refuses to start with the settings it was given."""

    code = Code.FAILED_PRECONDITION
    reason = "CONFIGURATION"


class MissingExtraError(ArnoError):
    """A part of Arno that is not installed."""

    code = Code.FAILED_PRECONDITION
    reason = "MISSING_EXTRA"
