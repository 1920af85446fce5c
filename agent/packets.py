"""The packets that an agent sends."""

from __future__ import annotations

from collections.abc import Sequence

from cloudlb.wire import Answer, Command, Flag, Header, response_flags, write_contents, write_packet

NOBODY = -1
"""The id of a host, or of a server, that is not known yet."""
NO_SEQUENCE = -1
"""The sequence number of a request that expects no answer."""


def request_packet(sequence: int, host_id: int, commands: Sequence[Command], flags: Flag) -> bytes:
    """Write a request of the host to whichever server is at the other end."""
    return write_packet(
        sequence=sequence,
        server_id=NOBODY,
        agent_id=host_id,
        via=host_id,
        flags=flags | Flag.REQUEST,
        body=write_contents(commands),
    )


def answer_packet(request: Header, answers: Sequence[Answer]) -> bytes:
    """Write the answers to a request of the server."""
    return write_packet(
        sequence=request.sequence,
        server_id=request.server_id,
        agent_id=request.agent_id,
        via=request.via,
        flags=response_flags(request),
        body=write_contents(answers),
    )
