"""Calls while the database is away."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs

from cloudlb.domain.ports import StoreUnavailable
from cloudlb.net.sparse_log import INTERVAL
from tests.api.world import ApiTestCase


class OutageTests(ApiTestCase):
    """What callers and the log are told."""

    def test_away(self) -> None:
        """Each caller gets a clear error, and the log a line now and then; later all is as before."""

        def away(_: Any) -> None:
            raise StoreUnavailable("unplugged")

        with capturedLogs() as events:
            for name in ("read", "run"):
                self.patch(self.database, name, away)
            for _ in range(20):
                self.assertEqual("the database is not available", self.failed(503, "listZones"))
            self.clock.advance(INTERVAL)
            self.failed(503, "createZone", name="z")
        lines = [event for event in events if "found the database away" in event.get("log_format", "")]
        self.assertEqual([None, 19], [line.get("left_out") for line in lines])
        for name in ("read", "run"):
            delattr(self.database, name)
        self.assertEqual({}, self.call("listZones"))
