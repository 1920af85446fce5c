"""A CA with a server's and an agent's certificate on the disk, made once for all tests of a process."""

from __future__ import annotations

import atexit
import shutil
import ssl
import tempfile
from functools import cache
from pathlib import Path

from attrs import frozen

from cloudlb.net.pki import CertificateAuthority
from cloudlb.net.tls import Identity


@frozen
class Certificates:
    """Where the files are."""

    ca: CertificateAuthority
    server: Identity
    agent: Identity
    nobody: Identity
    """An agent without a certificate."""


def identity(ca: CertificateAuthority, folder: Path, name: str) -> Identity:
    """The files NAME.pem and NAME.key of a folder."""
    return Identity(ca=ca.path, certificate=folder / f"{name}.pem", private_key=folder / f"{name}.key")


@cache
def certificates() -> Certificates:
    """Server 127.0.0.1 and mgmt.example, agent "agent-1"."""
    folder = Path(tempfile.mkdtemp(prefix="cloudlb-tests-"))
    atexit.register(shutil.rmtree, folder)
    ca = CertificateAuthority.create(folder / "ca", "Test CA")
    ca.issue_server("mgmt", ["127.0.0.1", "mgmt.example", "[::1]"]).write(folder / "server.pem", folder / "server.key")
    ca.issue_agent("agent-1").write(folder / "agent.pem", folder / "agent.key")
    return Certificates(ca, identity(ca, folder, "server"), identity(ca, folder, "agent"), Identity(ca=ca.path))


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Have two contexts meet in memory, and read once at both ends; raises what the end raises that refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    for end in ends:
        try:
            end.read(1)
        except ssl.SSLWantReadError:
            continue
    return ends[1], ends[0]
