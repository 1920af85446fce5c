"""The marks by which tests know their commands again where they were carried out."""

from __future__ import annotations

import re

_LOGID = re.compile("[0-9a-f]{8}")


def is_mark(text: str) -> bool:
    """Whether a command has a mark of a test's, or an id; what servers ask by themselves is recorded by its logid.

    Args:
        text: as the simulator records it; "-" stands for nothing.
    """
    return text != "-" and _LOGID.fullmatch(text) is None
