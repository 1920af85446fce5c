"""What management servers say to each other; docs/wire.md has the conversation. No agent gets or sends any of it."""

from __future__ import annotations

from cloudlb.wire.content import Answer, Command, frozen


@frozen(kw_only=True)
class PeerCommand(Command):
    """A server introduces itself to another one: its first request on a link."""

    server_id: int = 0
    """The msid of who connects."""
    run_id: int = 0
    """Which of its lives this is."""
    to_server_id: int = 0
    """The msid of whom it means to reach: an address may have passed to another server."""


@frozen(kw_only=True)
class PeerAnswer(Answer):
    """Whether a server takes another one's requests."""

    run_id: int = 0
    """Which of its lives this is."""


@frozen(kw_only=True)
class NoAnswer(Answer):
    """In place of a host's answers: a server's own word that a request it was to relay has ended without any."""

    error: str = ""
    """Which error: the name of its class."""
    told_later: bool = False
    """Whether the host's agent tells, on its next session, of journalled commands that it has got."""
