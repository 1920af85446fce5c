"""TLS on memory BIOs: seals and opens the records of one link, and touches no socket.

What the context looks like (versions, certificates, no tickets, no renegotiation) is its maker's matter. Sessions are
never resumed: no one is passed to wrap_bio, because in an abbreviated handshake the client would finish last, and
CloudStack drops what it has read behind a handshake's last flight.
"""

from __future__ import annotations

import ssl

from cloudlb.wire.errors import LinkError

ALPN = "cloudlb/1"
"""The name by which two of our own ends know each other."""
_PIECE = 5120
"""Bytes fed to TLS at a time; a memory BIO keeps room for the most that was ever in it.

Room enough for a record of ours; only CloudStack's, up to 16 KiB, come in several pieces.
"""


class Tls13WithoutAlpn(LinkError):
    """A server took TLS 1.3 and not our ALPN name: it is CloudStack's, and TLS 1.3 with it cannot work.

    It sends its session tickets unframed, which breaks the framing. Connect again with TLS 1.2 at most.
    """


class TlsChannel:
    """One TLS session, as a :class:`cloudlb.wire.link.Channel`."""

    __slots__ = ("_incoming", "_is_server", "_outgoing", "_session", "established")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._is_server = server_side
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self.established = False

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER, checked against the context's CA; None if it showed none."""
        return self._session.getpeercert(binary_form=True)

    @property
    def is_cloudlb(self) -> bool:
        """The two ends agreed on our ALPN name."""
        return self._session.selected_alpn_protocol() == ALPN

    @property
    def version(self) -> str:
        """The protocol in use, as "TLSv1.2" or "TLSv1.3"."""
        return self._session.version() or ""

    def start(self) -> bytes:
        """Return a client's first flight; nothing for a server."""
        return b"" if self._is_server else self._handshake()

    def handshake(self, record: bytes) -> bytes:
        """Feed one raw record and return raw bytes to send.

        Raises:
            LinkError: the handshake failed, for the reason that TLS gives.
            Tls13WithoutAlpn: see there. Our last flight is withheld: to that server no link ever came about.
        """
        self._incoming.write(record)
        return self._handshake()

    def _handshake(self) -> bytes:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read()
        except ssl.SSLError as error:
            raise _link_error(error) from error
        flight = self._outgoing.read()
        if not (self._is_server or self.is_cloudlb) and self.version == "TLSv1.3":
            raise Tls13WithoutAlpn("the server takes TLS 1.3 but is not cloudlb's: only TLS 1.2 works with it")
        self.established = True
        return flight

    def open(self, records: bytes) -> bytes:
        """Return the plaintext of a frame's body, which is one record or several.

        What TLS sends in return by itself (a key update) leaves with the next sealed record. What comes after a
        close_notify is thrown away.

        Raises:
            LinkError: a record is forged or damaged, or the peer sent an alert.
        """
        # No plaintext is longer than its record, so every read takes a record whole.
        limit = len(records)
        if limit <= _PIECE:
            return self._open(records, limit)
        pieces = memoryview(records)
        return b"".join(self._open(pieces[at : at + _PIECE], limit) for at in range(0, limit, _PIECE))

    def _open(self, piece: bytes | memoryview, limit: int) -> bytes:
        incoming, read = self._incoming, self._session.read
        incoming.write(piece)
        plaintext = b""
        try:
            plaintext = read(limit)
            while incoming.pending:
                if chunk := read(limit):
                    plaintext += chunk
                else:
                    incoming.read()
        except ssl.SSLWantReadError:
            # Part of a record, or a record of TLS's own, which holds nothing for us.
            pass
        except ssl.SSLError as error:
            raise _link_error(error) from error
        return plaintext

    def seal(self, chunk: bytes | memoryview) -> bytes:
        """Return the record of a chunk; several if the peer has negotiated smaller ones."""
        written = self._session.write(chunk)
        while written < len(chunk):
            written += self._session.write(chunk[written:])
        return self._outgoing.read()

    def last_words(self) -> bytes:
        """Return the alert of a session that failed, unframed."""
        return self._outgoing.read()


def _link_error(error: ssl.SSLError) -> LinkError:
    reason = (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"{reason}: {error.verify_message}"
    return LinkError(f"TLS: {reason}")
