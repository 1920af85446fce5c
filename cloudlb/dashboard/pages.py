"""The files of the dashboard: read once, named after their content, and told to ask nobody else for anything.

The page stands at the root and is asked for anew each time. Everything that it needs stands under one name that is a
hash of all of it, so browsers keep it for good, and a page never gets files of another version.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from hashlib import blake2b
from importlib.resources import files
from typing import Any

from attrs import field, frozen
from twisted.web.http import CACHED
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing from elsewhere, nothing inside of the page, and no frame around it."""
_HEADERS: Mapping[bytes, bytes] = {
    b"Content-Security-Policy": POLICY.encode(),
    b"X-Content-Type-Options": b"nosniff",
    b"Referrer-Policy": b"no-referrer",
    b"Cross-Origin-Opener-Policy": b"same-origin",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Permissions-Policy": b"camera=(), geolocation=(), microphone=()",
}
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
INDEX = "index.html"
FOLDER = "ui"
_PLACEHOLDER = b"{files}"
_FOR_GOOD = b"public, max-age=31536000, immutable"
_ASK_FIRST = b"no-cache"


@frozen
class File:
    """One file, ready to be sent."""

    content_type: bytes
    content: bytes = field(repr=False)
    zipped: bytes = field(repr=False)
    tag: bytes
    caching: bytes


def _file(name: str, content: bytes, caching: bytes) -> File:
    return File(
        content_type=_TYPES[name[name.rindex(".") :]],
        content=content,
        zipped=gzip.compress(content, mtime=0),
        tag=b'"%b"' % _digest(content).encode(),
        caching=caching,
    )


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=12).hexdigest()


class FilePage(Resource):
    """GET: a file."""

    def __init__(self, file: File) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._file = file

    def render_GET(self, request: Any) -> bytes:
        """Send it, unless the browser has it."""
        file = self._file
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        request.setHeader(b"Cache-Control", file.caching)
        request.setHeader(b"Vary", b"Accept-Encoding")
        if request.setETag(file.tag) is CACHED:
            return b""
        request.setHeader(b"Content-Type", file.content_type)
        if takes_gzip(request):
            request.setHeader(b"Content-Encoding", b"gzip")
            return file.zipped
        return file.content


def takes_gzip(request: Request) -> bool:
    """Whether a browser wants to have gzip."""
    accepted = (request.getHeader(b"accept-encoding") or b"").lower().split(b",")
    return any(coding.strip() in (b"gzip", b"gzip;q=1.0") for coding in accepted)


def dashboard_pages() -> Mapping[str, IResource]:
    """What stands at the root of the site, by name: the page, and the folder of its files."""
    contents = {
        entry.name: entry.read_bytes()
        for entry in sorted(files("cloudlb.dashboard").joinpath("static").iterdir(), key=lambda entry: entry.name)
        if entry.name[entry.name.rfind(".") :] in _TYPES
    }
    version = _digest(b"".join(name.encode() + b"\0" + content for name, content in contents.items()))
    folder, of_version = notFound(), notFound()
    folder.putChild(version.encode(), of_version)
    for name, content in contents.items():
        if name != INDEX:
            of_version.putChild(name.encode(), FilePage(_file(name, content, _FOR_GOOD)))
    index = contents[INDEX].replace(_PLACEHOLDER, f"/{FOLDER}/{version}".encode())
    return {"": FilePage(_file(INDEX, index, _ASK_FIRST)), FOLDER: folder}
