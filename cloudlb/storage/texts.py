"""Text that databases take: not every string of an agent is."""

from __future__ import annotations

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def is_text(value: str) -> bool:
    """Tell text from strings with NUL or with halves of surrogate pairs, which databases do not take."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def as_text(value: str) -> str:
    """The string with a mark in place of each character that databases do not take."""
    return "".join(char if is_text(char) else _REPLACEMENT for char in value) if not is_text(value) else value
