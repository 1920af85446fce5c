"""Viewers of the dashboard's stream, in a process of their own: `python -m bench.viewers PORT COOKIE KEY COUNT`.

Each asks for gzip and reads. Whenever a line comes on the standard input, the bytes that all of them have got so far
are written to the standard output; they leave with its end.
"""

from __future__ import annotations

import selectors
import socket
import sys


def main() -> None:
    """Follow."""
    port, cookie, key, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    lines = (
        f"GET /stream?sessionkey={key} HTTP/1.1",
        "Host: x",
        f"Cookie: JSESSIONID={cookie}",
        "Accept-Encoding: gzip",
    )
    request = "\r\n".join((*lines, "", ""))
    selector = selectors.DefaultSelector()
    for _ in range(count):
        viewer = socket.create_connection(("127.0.0.1", port))
        viewer.sendall(request.encode())
        selector.register(viewer, selectors.EVENT_READ, viewer)
    selector.register(sys.stdin, selectors.EVENT_READ)
    got = 0
    while True:
        for ready, _ in selector.select():
            if ready.data is not None:
                got += len(ready.data.recv(2**16))
            elif sys.stdin.readline():
                print(got, flush=True)
            else:
                return


if __name__ == "__main__":
    main()
