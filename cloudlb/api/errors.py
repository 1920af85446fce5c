"""What a call can be answered with instead of a result."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """CloudStack's error codes, which are the HTTP status, too [ApiErrorCode]."""

    BAD_REQUEST = 400
    UNAUTHORIZED = 401
    METHOD_NOT_ALLOWED = 405
    IN_USE = 536
    PARAMETER = 431
    TOO_MANY = 429
    UNSUPPORTED = 432
    UNAVAILABLE = 503
    INTERNAL = 530
    ACCOUNT = 531
    NO_CAPACITY = 533
    RESOURCE_UNAVAILABLE = 534


class ApiError(Exception):
    """A call that fails for a reason its caller may read; nothing was changed."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid_parameter(name: str, why: str) -> ApiError:
    """An error that names the parameter."""
    return ApiError(ErrorCode.PARAMETER, f"Invalid parameter {name}: {why}")


def unknown_entity(name: str, key: str) -> ApiError:
    """A parameter that is the id of nothing."""
    return invalid_parameter(name, f"there is nothing with the id {key!r}")
