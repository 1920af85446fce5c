# test-case-name: tests.wire.test_golden
"""Whole packets, read into values and written back: hand-written ones, and those recorded from CloudStack's classes.

The recorded ones are in packets.jsonl, in the folder that the environment variable CLOUDLB_GOLDEN names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from attrs import evolve, fields
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from cloudlb.wire import (
    Content,
    Fields,
    Flag,
    Header,
    Opaque,
    read_body,
    read_contents,
    read_header,
    write_contents,
    write_packet,
)
from tests.wire.vectors import VECTORS

FOLDER = "CLOUDLB_GOLDEN"
MAX_BODY = 16 * 2**20


def _golden_packets() -> list[dict[str, Any]]:
    if FOLDER not in os.environ:
        raise SkipTest(f"the environment variable {FOLDER} names no folder with a packets.jsonl")
    lines = Path(os.environ[FOLDER], "packets.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


class PacketRoundTrip(SynchronousTestCase):
    """What holds for every packet."""

    def rewritten(self, message: bytes, name: str) -> bytes:
        """Read a packet into values, write it from them, and check that it is equal; return what was written."""
        header = read_header(message)
        body = read_body(message, header, MAX_BODY)
        written_body = write_contents(read_contents(body))
        self.assertEqual(json.loads(written_body), json.loads(body), name)
        written = write_packet(
            sequence=header.sequence,
            server_id=header.server_id,
            agent_id=header.agent_id,
            via=header.via,
            flags=header.flags,
            body=written_body,
        )
        # Java escapes characters that need no escape, so that the same JSON has another length.
        self.assertEqual(read_header(written), evolve(header, size=len(written_body)), name)
        self.assertEqual(read_body(written, read_header(written), MAX_BODY), written_body, name)
        return written


class HandWrittenTests(PacketRoundTrip):
    """The packets written by hand."""

    def test_round_trip(self) -> None:
        """Each is written back as an equal packet, with the very same header where the JSON is as long."""
        for vector in VECTORS:
            written = self.rewritten(vector.packet, vector.name)
            if len(written) == len(vector.packet):
                self.assertEqual(written[:40], vector.packet[:40], vector.name)
            self.assertEqual(read_contents(written[40:]), vector.contents, vector.name)

    def test_header(self) -> None:
        """A header's fields stand where the layout says."""
        [ping] = [vector for vector in VECTORS if vector.name == "ping"]
        self.assertEqual(
            read_header(ping.packet),
            Header(
                sequence=1,
                server_id=-1,
                agent_id=7,
                via=7,
                flags=Flag.REQUEST | Flag.STOP_ON_ERROR,
                size=len(ping.body),
            ),
        )


class GoldenTests(PacketRoundTrip):
    """The packets recorded from CloudStack's own classes."""

    def setUp(self) -> None:
        """Read them."""
        self.packets = _golden_packets()
        self.assertNotEqual(self.packets, [], "packets.jsonl is empty")

    def test_headers(self) -> None:
        """Each header has the values that were recorded beside it."""
        for packet in self.packets:
            header = read_header(bytes.fromhex(packet["hex"]))
            self.assertEqual(
                header,
                Header(
                    sequence=packet["seq"],
                    server_id=packet["mgmt_id"],
                    agent_id=packet["agent_id"],
                    via=packet["via"],
                    flags=Flag(packet["flags"]),
                    size=packet["size"],
                ),
                packet["name"],
            )
            self.assertEqual(header.is_request, packet["kind"] == "request", packet["name"])

    def test_bodies(self) -> None:
        """Each body is the JSON that was recorded beside it."""
        for packet in self.packets:
            message = bytes.fromhex(packet["hex"])
            body = read_body(message, read_header(message), MAX_BODY)
            self.assertEqual(body.decode(), packet["content_json"], packet["name"])

    def test_round_trip(self) -> None:
        """Each is written back as an equal packet."""
        for packet in self.packets:
            self.rewritten(bytes.fromhex(packet["hex"]), packet["name"])

    def test_all_is_modelled(self) -> None:
        """No class and no field of theirs is unknown to us."""
        for packet in self.packets:
            for content in read_contents(packet["content_json"].encode()):
                self.assertFalse(isinstance(content, Opaque), packet["name"])
                assert isinstance(content, Content)
                self.assertEqual(_unknown_fields(content), [], packet["name"])


def _unknown_fields(value: object) -> list[str]:
    """The names of unknown fields of a value and of all values within."""
    if isinstance(value, Fields):
        inner = [getattr(value, attribute.name) for attribute in fields(type(value)) if attribute.name != "extra"]
        return [*value.extra, *_unknown_fields(inner)]
    if isinstance(value, dict):
        return _unknown_fields(list(value.values()))
    if isinstance(value, list | tuple):
        return [name for each in value for name in _unknown_fields(each)]
    return []
