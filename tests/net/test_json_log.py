"""Lines of JSON."""

from __future__ import annotations

import io
import json
from datetime import datetime
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.json_log import json_observer


class Secret:
    """Something that has more to it than belongs into a log."""

    def __init__(self) -> None:
        self.password = "hunter2"

    def __str__(self) -> str:
        return "a secret"


class JsonLogTests(SynchronousTestCase):
    """What is logged, as a collector reads it."""

    def setUp(self) -> None:
        self.file = io.StringIO()
        self.log = Logger("cloudlb.test", observer=json_observer(self.file))

    def lines(self) -> list[dict[str, Any]]:
        """What was written."""
        self.assertTrue(self.file.getvalue().endswith("\n"))
        return [json.loads(line) for line in self.file.getvalue().splitlines()]

    def test_line(self) -> None:
        """Who says what when, and of what it was made."""
        self.log.warn(
            "host {name} has {count} of {share:.1f}, {error}", name="h", count=3, share=0.5, error=OSError("x")
        )
        (line,) = self.lines()
        self.assertRegex(line.pop("time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$")
        self.assertEqual(
            {
                "level": "warn",
                "logger": "cloudlb.test",
                "message": "host h has 3 of 0.5, x",
                "name": "h",
                "count": 3,
                "share": 0.5,
                "error": "x",
            },
            line,
        )

    def test_values_that_are_things(self) -> None:
        """They are in the message as they show themselves, and nowhere else."""
        self.log.info("there is {thing}", thing=Secret(), pair=("a", "b"))
        (line,) = self.lines()
        self.assertEqual("there is a secret", line["message"])
        self.assertEqual({"time", "level", "logger", "message"}, set(line))

    def test_names_of_the_line(self) -> None:
        """A value that is called like a part of the line does not stand for it."""
        self.log.info("{message} {time} {logger} {traceback}", message="m", time=1, logger="x", traceback="t")
        (line,) = self.lines()
        self.assertEqual(("cloudlb.test", "m 1 x t"), (line["logger"], line["message"]))
        self.assertNotEqual(1, line["time"])

    def test_one_line_each(self) -> None:
        """Whatever is in it: line ends, a traceback, text that is no Unicode, numbers beyond 64 bits."""
        self.log.failure("it is\nbroken", Failure(ValueError("broken")))
        self.log.info("lone {half}", half="\ud800")
        self.log.info("large {number}", number=2**70)
        broken, half, large = self.lines()
        self.assertEqual(("critical", "it is\nbroken"), (broken["level"], broken["message"]))
        self.assertIn("ValueError: broken", broken["traceback"])
        self.assertEqual(("info", "lone \\ud800"), (half["level"], half["message"]))
        self.assertEqual(broken["logger"], half["logger"])
        datetime.fromisoformat(half["time"])
        self.assertEqual(str(2**70), large["number"])

    def test_what_cannot_be_formatted(self) -> None:
        """A mistake in a log line is a line, too."""
        self.log.emit(LogLevel.info, "there is no {such}")
        self.assertIn("Unable to format", self.lines()[0]["message"])
