"""Passwords, and what is kept of them."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 8
"""Characters."""
LONGEST = 255

_hasher = PasswordHasher()
# Who asks for a user that there is not waits as long as for one that there is.
_nobody = _hasher.hash("")


class UnfitPassword(ValueError):
    """A password that nobody should have; the text says why, without it."""


def hash_password(password: str) -> str:
    """What to keep of a password (Argon2id with RFC 9106's low-memory parameters); takes some 50 ms of a core.

    Raises:
        UnfitPassword: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise UnfitPassword(f"a password has between {SHORTEST} and {LONGEST} characters")
    return _hasher.hash(password)


def is_password(given: str, kept: str | None) -> bool:
    """Whether a password is the right one; as slow as :func:`hash_password`, also where None is kept."""
    try:
        return _hasher.verify(kept or _nobody, given) and kept is not None
    except (VerificationError, InvalidHashError):
        return False
