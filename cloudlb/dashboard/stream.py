"""The stream of server-sent events that keeps pages up to date: a snapshot, and then what changes.

Nobody looks at the database for the sake of one viewer, and nothing is encoded for one. A viewer that does not read
is sent nothing more until it does, and its connection is closed if that takes long: it comes back by itself, and goes
on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from cloudlb.dashboard.frames import GZIP_HEADER, KEEP_ALIVE, Frame
from cloudlb.dashboard.pages import takes_gzip
from cloudlb.dashboard.visitors import Visitors
from cloudlb.dashboard.watch import Watch
from cloudlb.domain.ports import Store, StoreUnavailable
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn

MOST_VIEWERS = 256
CARE_INTERVAL = 5.0
"""Seconds between looks at the viewers themselves."""
SILENCE = 15.0
"""Seconds without an event after which a comment shows that the stream lives."""
PATIENCE = 20.0
"""Seconds that a viewer may go without reading."""


@implementer(IPushProducer)
class Viewer:
    """One page that follows."""

    def __init__(self, request: Any, clock: IReactorTime, resumed: Callable[[Viewer], object]) -> None:
        # Any: Twisted's request has no types for what writes.
        self.request = request
        self.position: str | None = None
        self._clock = clock
        self._resumed = resumed
        self._gzip = takes_gzip(request)
        self._paused_since: float | None = None
        self._written = 0.0

    def begin(self, position: str | None) -> None:
        """Send the head of the answer; the viewer has everything up to a position."""
        self.position = position
        for name, value in (
            (b"Content-Type", b"text/event-stream; charset=utf-8"),
            (b"Cache-Control", b"no-store"),
            (b"Vary", b"Accept-Encoding"),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"X-Accel-Buffering", b"no"),
        ):
            self.request.setHeader(name, value)
        if self._gzip:
            self.request.setHeader(b"Content-Encoding", b"gzip")
            self.request.write(GZIP_HEADER)
        self.request.registerProducer(self, True)
        self.write(KEEP_ALIVE)

    @property
    def reads(self) -> bool:
        """Whether what was sent has been read."""
        return self._paused_since is None

    def write(self, frame: Frame) -> None:
        """Send a frame."""
        self._written = self._clock.seconds()
        self.request.write(frame.deflated if self._gzip else frame.plain)

    def look_after(self) -> None:
        """Show a viewer that waits that the stream lives, and part with one that does not read."""
        now = self._clock.seconds()
        if self._paused_since is not None and now - self._paused_since >= PATIENCE:
            self.request.channel.forceAbortClient()
        elif self.reads and now - self._written >= SILENCE:
            self.write(KEEP_ALIVE)

    def end(self) -> None:
        """End the stream in good order."""
        self.request.unregisterProducer()
        self.request.finish()

    def pauseProducing(self) -> None:
        """What was written is not being read."""
        if self._paused_since is None:
            self._paused_since = self._clock.seconds()

    def resumeProducing(self) -> None:
        """It is read again."""
        self._paused_since = None
        self._resumed(self)

    def stopProducing(self) -> None:
        """The connection is gone; the request tells."""


class Stream(Resource):
    """GET: the stream, for whoever is logged in."""

    log = Logger()
    isLeaf = True

    def __init__(self, store: Store, clock: IReactorTime, new_run: Callable[[], str], visitors: Visitors) -> None:
        """Prepare.

        Args:
            store: the database.
            clock: tells the time.
            new_run: makes names that no other stream has.
            visitors: who may follow; asked again while they do.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._clock = clock
        self._visitors = visitors
        self._viewers: list[Viewer] = []
        self._stopped = False
        self.watch = Watch(store, clock, new_run, self._tell)
        self._care = Periodic(clock, "look after the viewers of the dashboard", self._look_after)

    def render_GET(self, request: Any) -> int:
        """Answer, when it is known who asks."""
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)
        spawn(self._render(request, gone), self.log, "answer a viewer of the dashboard")
        return NOT_DONE_YET

    async def _render(self, request: Any, gone: list[object]) -> None:
        try:
            (known,) = await self._visitors.known([request])
        except StoreUnavailable as error:
            _refuse(request, gone, 503, f"{error}")
            return
        if not known:
            _refuse(request, gone, 401, "log in first")
        elif self._stopped:
            _refuse(request, gone, 503, "the server stops")
        elif len(self._viewers) >= MOST_VIEWERS:
            _refuse(request, gone, 503, "too many pages follow already")
        elif not gone:
            self._begin(request)

    def _begin(self, request: Any) -> None:
        viewer = Viewer(request, self._clock, self._catch_up)
        request.notifyFinish().addBoth(lambda _: self._left(viewer))
        viewer.begin((request.getHeader(b"last-event-id") or b"").decode("ascii", "replace") or None)
        self._viewers.append(viewer)
        self.watch.start()
        self._care.start(CARE_INTERVAL)
        self._catch_up(viewer)

    def stop(self) -> None:
        """Let go of everybody, and take nobody who comes back while the server stops."""
        self._stopped = True
        for viewer in list(self._viewers):
            viewer.end()

    def _left(self, viewer: Viewer) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)
        if not self._viewers:
            self.watch.stop()
            self._care.stop()

    def _tell(self) -> None:
        for viewer in list(self._viewers):
            self._catch_up(viewer)

    def _catch_up(self, viewer: Viewer) -> None:
        """Send a viewer what it has yet to get, as long as it reads."""
        if not viewer.reads or viewer not in self._viewers:
            return
        news = self.watch.after(viewer.position)
        if news is not None:
            viewer.position, frames = news
            for frame in frames:
                viewer.write(frame)

    async def _look_after(self) -> None:
        viewers = list(self._viewers)
        for viewer in viewers:
            viewer.look_after()
        known = await self._visitors.known([viewer.request for viewer in viewers])
        for viewer, stays in zip(viewers, known, strict=True):
            if not stays and viewer in self._viewers:
                viewer.end()


def _refuse(request: Any, gone: list[object], status: int, text: str) -> None:
    if gone:
        return
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Cache-Control", b"no-store")
    request.write(text.encode() + b"\n")
    request.finish()
