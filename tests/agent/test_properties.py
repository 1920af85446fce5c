"""agent.properties, as it is read and rewritten."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from agent.properties import RETRY_INTERVAL, AgentProperties, edited, read_properties, rewrite
from cloudlb.net.atomic_file import write_atomically
from tests.agent.log_lines import LogLines

KEYS = ["host", "port", "x.y", "h\xe4user", "a b"]
LINES = st.one_of(
    st.sampled_from(["# comment", "! comment", "", "   ", "#host=commented@static", "# caf\xc3\xa9"]),
    st.builds(
        lambda key, gap, value: key.replace(" ", "\\ ") + gap + value,
        st.sampled_from(KEYS),
        st.sampled_from(["=", ":", " ", " = "]),
        st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\\\x85\xa0"), max_size=8),
    ),
    st.just("long = one,\\\n   two"),
)


def unchanged_lines(content: bytes, key: bytes) -> list[bytes]:
    """The lines that are not the key's."""
    return [line for line in content.splitlines() if not line.lstrip().startswith(key)]


class EditTests(SynchronousTestCase):
    """The text of the file."""

    def test_value_replaced(self) -> None:
        """A value changes where it stands; comments, order and unknown keys stay."""
        before = b"# top\nguid=g\n\nhost=a,b@static\n! middle\nour.own : 1\n"
        self.assertEqual(
            edited(before, {"host": "c,d@roundrobin"}),
            b"# top\nguid=g\n\nhost=c,d@roundrobin\n! middle\nour.own : 1\n",
        )

    def test_last_line_without_newline(self) -> None:
        """A key after a last line without a newline gets a line of its own."""
        self.assertEqual(edited(b"guid=g", {"host": "a"}), b"guid=g\nhost=a\n")
        self.assertEqual(edited(b"guid=g\nhost=b", {"host": "a"}), b"guid=g\nhost=a\n")
        self.assertEqual(edited(b"# end", {"host": "a"}), b"# end\nhost=a\n")
        self.assertEqual(edited(b"", {"host": "a"}), b"host=a\n")

    def test_last_line_continued(self) -> None:
        """A last line that ends in a continuation does not swallow the new key."""
        self.assertEqual(edited(b"guid=g\\", {"host": "a"}), b"guid=g\nhost=a\n")

    def test_windows_file(self) -> None:
        """A file with CRLF stays one."""
        self.assertEqual(
            edited(b"# top\r\nhost=a\r\nport=1\r\n", {"host": "b", "new": "c"}),
            b"# top\r\nhost=b\r\nport=1\r\nnew=c\r\n",
        )

    def test_repeated_key(self) -> None:
        """Of a repeated key one line is left, so that no reader takes the old value."""
        self.assertEqual(edited(b"host=a\nport=1\nhost=b\n", {"host": "c"}), b"host=c\nport=1\n")

    def test_commented_out_key(self) -> None:
        """A line that is commented out is none of the key's."""
        self.assertEqual(edited(b"#host=a\n", {"host": "b"}), b"#host=a\nhost=b\n")

    def test_other_text(self) -> None:
        """Bytes that are no ASCII survive in comments and values, whatever encoding they are in."""
        before = "# caf\u00e9 \u4e2d\nname=\u4e2d\n".encode()
        self.assertEqual(edited(before + b"host=a\n", {"host": "b"}), before + b"host=b\n")

    @settings(max_examples=150, deadline=None)
    @given(st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.text(max_size=12))
    def test_round_trip(self, lines: list[str], newline: str, ends: bool, value: str) -> None:
        """Whatever the file and the value: the value reads back, other keys and lines stay as they were."""
        text = "\n".join(lines).replace("\n", newline) + (newline if ends and lines else "")
        before = text.encode("latin-1")
        path = Path(self.mktemp())
        path.write_bytes(before)
        old = read_properties(path)
        path.write_bytes(edited(before, {"host": value}))
        self.assertEqual(read_properties(path), old | {"host": value})
        self.assertEqual(unchanged_lines(path.read_bytes(), b"host"), unchanged_lines(before, b"host"))


class RewriteTests(SynchronousTestCase):
    """The file on the disk."""

    def setUp(self) -> None:
        """A file."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "agent.properties"
        self.path.write_bytes(b"# mine\nguid=g\nhost=a")

    def test_mode_stays(self) -> None:
        """Who may read the file does not change."""
        self.path.chmod(0o640)
        rewrite(self.path, {"host": "b"})
        self.assertEqual(self.path.stat().st_mode & 0o7777, 0o640)
        self.assertEqual(self.path.read_bytes(), b"# mine\nguid=g\nhost=b\n")
        self.assertEqual(list(self.folder.iterdir()), [self.path])

    def test_owner_stays(self) -> None:
        """A daemon of root leaves the file to whom it belongs."""
        if os.getuid() != 0:
            self.skipTest("only root can give files away")
        os.chown(self.path, 12345, 54321)
        rewrite(self.path, {"host": "b"})
        self.assertEqual((self.path.stat().st_uid, self.path.stat().st_gid), (12345, 54321))

    def test_symbolic_link(self) -> None:
        """A link is followed and stays a link."""
        link = self.folder / "link"
        link.symlink_to("agent.properties")
        rewrite(link, {"host": "b"})
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.path.read_bytes(), b"# mine\nguid=g\nhost=b\n")


class AgentPropertiesTests(SynchronousTestCase):
    """The file of a running agent."""

    def setUp(self) -> None:
        """A file on a disk that can be full."""
        self.clock = Clock()
        self.full = False
        self.path = Path(self.mktemp())
        self.path.write_bytes(b"guid=g\nhost=a\n")
        self.log = LogLines()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)
        self.properties = AgentProperties(self.path, self.clock, maybeDeferred, self.write)

    def write(self, path: Path, content: bytes, mode: int) -> None:
        """Write, or not."""
        if self.full:
            raise OSError(28, "No space left on device")
        write_atomically(path, content, mode)

    def test_written(self) -> None:
        """A value is in the file at once."""
        self.properties.set({"host": "b"})
        self.assertEqual(self.path.read_bytes(), b"guid=g\nhost=b\n")
        self.assertEqual(self.properties.unsaved, {})

    def test_edits_of_others(self) -> None:
        """What somebody else changed meanwhile stays."""
        self.path.write_bytes(b"guid=g\n# new\nport=1\nhost=a\n")
        self.properties.set({"host": "b"})
        self.assertEqual(self.path.read_bytes(), b"guid=g\n# new\nport=1\nhost=b\n")

    def test_full_disk(self) -> None:
        """On a full disk the old file stays whole, the fault is reported, and the latest value is written later."""
        self.full = True
        self.properties.set({"host": "b"})
        self.properties.set({"host": "c"})
        self.assertEqual(self.path.read_bytes(), b"guid=g\nhost=a\n")
        self.assertEqual(self.properties.unsaved, {"host": "c"})
        self.assertIn("No space left on device", self.log.lines("error")[0])
        self.full = False
        self.clock.advance(RETRY_INTERVAL)
        self.assertEqual(self.path.read_bytes(), b"guid=g\nhost=c\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_broken_by_hand(self) -> None:
        """A file with a malformed escape is not rewritten before it is mended."""
        self.path.write_bytes(b"name=\\u12\n")
        self.properties.set({"host": "b"})
        self.assertEqual(self.path.read_bytes(), b"name=\\u12\n")
        self.path.write_bytes(b"name=x\n")
        self.clock.advance(RETRY_INTERVAL)
        self.assertEqual(self.path.read_bytes(), b"name=x\nhost=b\n")

    def test_set_while_writing(self) -> None:
        """Values that come while a slow disk is at work are written next, in one go; closing waits for it."""
        jobs: list[tuple[Callable[[], None], Deferred[None]]] = []

        def slowly(work: Callable[[], None]) -> Deferred[None]:
            jobs.append((work, Deferred()))
            return jobs[-1][1]

        properties = AgentProperties(self.path, self.clock, slowly)
        properties.set({"host": "b"})
        properties.set({"host": "c"})
        properties.set({"host": "d"})
        self.assertEqual(len(jobs), 1)
        closed = properties.close()
        self.assertNoResult(closed)
        for work, done in jobs:
            work()
            done.callback(None)
        self.successResultOf(closed)
        self.assertEqual(len(jobs), 2)
        self.assertEqual(self.path.read_bytes(), b"guid=g\nhost=d\n")

    def test_closed_with_a_full_disk(self) -> None:
        """Closing leaves no timer behind."""
        self.full = True
        self.properties.set({"host": "b"})
        self.successResultOf(self.properties.close())
        self.assertEqual(self.clock.getDelayedCalls(), [])
