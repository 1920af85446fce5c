"""Tests of how answers are written."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb._version import __version__
from cloudlb.api.envelope import error_body, write
from cloudlb.api.errors import invalid_parameter


class WriteTests(SynchronousTestCase):
    """JSON where it is asked for, else XML."""

    def test_json(self) -> None:
        """Exactly one top-level key, and types kept."""
        written = write("r", {"count": 1, "host": [{"a": True}]}, "JSON")
        self.assertEqual("application/json; charset=UTF-8", written.content_type)
        self.assertEqual({"r": {"count": 1, "host": [{"a": True}]}}, json.loads(written.content))

    def test_xml(self) -> None:
        """An element for each item of a list."""
        written = write("r", {"count": 2, "host": [{"ok": True, "name": "<a>"}, {"name": "b"}], "none": []}, "")
        self.assertEqual("text/xml; charset=UTF-8", written.content_type)
        root = ET.fromstring(written.content)  # noqa: S314 we wrote it
        self.assertEqual(("r", {"cloud-stack-version": __version__}), (root.tag, root.attrib))
        self.assertEqual(["count", "host", "host"], [child.tag for child in root])
        self.assertEqual("true", root.findtext("host/ok"))
        self.assertEqual(["<a>", "b"], [element.text for element in root.findall("host/name")])

    def test_error(self) -> None:
        """Clients read both codes as numbers."""
        self.assertEqual(
            {"uuidList": [], "errorcode": 431, "cserrorcode": 9999, "errortext": "Invalid parameter id: bad"},
            error_body(invalid_parameter("id", "bad")),
        )

    @given(st.text(max_size=30))
    def test_any_name(self, name: str) -> None:
        """Names come from agents: both forms stay readable whatever they hold."""
        text = name.encode("utf-8", "replace").decode()
        self.assertEqual({"r": {"name": text}}, json.loads(write("r", {"name": text}, "json").content))
        root = ET.fromstring(write("r", {"name": text}, "xml").content)  # noqa: S314 we wrote it
        self.assertIsNotNone(root.find("name"))
