"""Turn every fault into an answer of HTTP: problem details (RFC 9457), or the form of OpenAI's API.

Code, reason, message and metadata are those of the gateway's gRPC status (docs/errors.md).
"""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from arno.client.export import error_json
from arno.errors import ArnoError, Code, ConfigurationError, UnauthenticatedError

logger = logging.getLogger(__name__)

OPENAI_PATHS: Final = ("/v1/chat/", "/v1/models")
"""Where clients of OpenAI's API expect its form of errors."""

CALLER_GONE: Final = 499
"""What proxies write for a caller that hung up; no caller ever reads it."""

_STATUSES: Final = {
    Code.CANCELLED: CALLER_GONE,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}

_OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def problem(error: ArnoError) -> dict[str, Any]:
    """Return the problem details of an error."""
    facts = error_json(error)
    return {
        "type": f"urn:arno:error:{error.reason}",
        "title": error.reason.replace("_", " ").capitalize(),
        "status": status_of(error),
        "detail": facts.pop("message"),
        **facts,
        "code": error.code.name,
    }


def status_of(error: ArnoError) -> int:
    """Return the HTTP status of an error."""
    if error.metadata.get("field") == "body" and error.reason == "LIMIT_EXCEEDED":
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return _STATUSES.get(error.code, 500)


def error_response(path: str, error: ArnoError) -> Response:
    """Return the answer of a request to this path that failed."""
    status = status_of(error)
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if "retry_delay_s" in error.metadata:
        # Whole seconds, rounded up: a retry that is too early is refused again.
        headers["Retry-After"] = str(-int(-float(error.metadata["retry_delay_s"]) // 1))
    if path.startswith(OPENAI_PATHS):
        return JSONResponse(_openai_form(error, status), status, headers)
    return JSONResponse(problem(error), status, headers, media_type="application/problem+json")


async def on_error(request: Request, error: Exception) -> Response:
    """Answer a request that failed."""
    match error:
        case ConfigurationError():
            # The only configuration that comes with a request is its key.
            refused = UnauthenticatedError("the API key holds characters that no key has")
            return error_response(request.url.path, refused)
        case ArnoError():
            return error_response(request.url.path, error)
        case HTTPException():
            return _no_route(request, error)
        case _:
            return error_response(request.url.path, _unexpected(error))


def _no_route(request: Request, error: HTTPException) -> Response:
    """Answer what no route takes: an unknown path, another method, a form that cannot be read."""
    sentence = f"{request.method} {request.url.path}: {error.detail}"
    if request.url.path.startswith(OPENAI_PATHS):
        told = {"message": sentence, "type": "invalid_request_error", "param": None, "code": None}
        return JSONResponse({"error": told}, error.status_code, error.headers)
    document = {
        "type": "about:blank",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": sentence,
    }
    media_type = "application/problem+json"
    return JSONResponse(document, error.status_code, error.headers, media_type=media_type)


def _unexpected(error: Exception) -> ArnoError:
    """Log a fault of ours, and return what the caller may know of it: an id to ask about."""
    error_id = secrets.token_hex(8)
    logger.error("unexpected failure", exc_info=error, extra={"error_id": error_id})
    sentence = f"an unexpected failure of the web process; its log has it under error_id {error_id}"
    return _UnexpectedError(sentence, error_id=error_id)


class _UnexpectedError(ArnoError):
    code = Code.INTERNAL
    reason = "INTERNAL"


def _openai_form(error: ArnoError, status: int) -> dict[str, Any]:
    server_fault = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = "server_error" if server_fault else _OPENAI_TYPES.get(status, "invalid_request_error")
    return {
        "error": {
            "message": error.message,
            "type": kind,
            "param": error.metadata.get("field"),
            "code": error.reason,
            "metadata": error.metadata,
        }
    }
