"""Writing a new properties file of Java's kind."""

from __future__ import annotations

from collections.abc import Mapping

import javaproperties


def properties_text(comment: str, properties: Mapping[str, str]) -> str:
    """A comment of one line and a line for each property, in ASCII."""
    return "".join(f"{line}\n" for line in (f"# {comment}", *(f"{k}={_escape(v)}" for k, v in properties.items())))


def _escape(value: str) -> str:
    # Colons and equals signs need no escape in values, and without it people can read URLs and IPv6 addresses.
    return javaproperties.escape(value).replace("\\:", ":").replace("\\=", "=")
