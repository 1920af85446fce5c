"""Who signed a call: CloudStack's signatures with an account's secret key [ApiServer.verifyRequest]."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import datetime
from urllib.parse import quote

from cloudlb.api.errors import ApiError, ErrorCode
from cloudlb.domain.users import Account, ApiKey


def unauthorized() -> ApiError:
    """The one answer to every call that cannot be trusted; it does not tell what was wrong."""
    return ApiError(ErrorCode.UNAUTHORIZED, "unable to verify user credentials and/or request signature")


def signatures(parameters: Mapping[str, str], secret: str) -> Iterator[str]:
    """Yield the signatures that are right for parameters, named as they were sent.

    There are two where a value holds ``~``: Java's encoder, and so CloudStack, escapes it, Python's and Go's do not.
    """
    signed = sorted((name, value) for name, value in parameters.items() if name.lower() != "signature")
    text = "&".join(f"{name}={quote(value, safe='*')}" for name, value in signed).lower()
    for spelling in dict.fromkeys((text, text.replace("~", "%7e"))):
        yield b64encode(hmac.digest(secret.encode(), spelling.encode(), "sha1")).decode()


def verify(parameters: Mapping[str, str], key: ApiKey | None, now: float) -> Account:
    """Check who calls.

    Args:
        parameters: of the query, named as they were sent.
        key: the pair with the query's apiKey.
        now: seconds since the epoch.

    Raises:
        ApiError: unknown or expired key, its user disabled, wrong signature, or version 3 without an ``expires`` in the
            future.
    """
    lowered = {name.lower(): value for name, value in parameters.items()}
    given = lowered.get("signature", "").encode()
    # An unknown key takes the same way as a known one, so that time does not tell which keys exist.
    expected = signatures(parameters, key.secret_key if key is not None else "")
    matches = [hmac.compare_digest(signature.encode(), given) for signature in expected]
    if key is None or not any(matches) or not key.is_valid(now):
        raise unauthorized()
    if lowered.get("signatureversion") == "3" and not _is_future(lowered.get("expires", ""), now):
        raise unauthorized()
    return key.account


def _is_future(expires: str, now: float) -> bool:
    try:
        return datetime.strptime(expires, "%Y-%m-%dT%H:%M:%S%z").timestamp() > now
    except (ValueError, OverflowError):
        return False
