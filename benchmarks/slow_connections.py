"""Connections by the thousand that ask for nothing: silent, half a head, a head or a body of a byte now and then."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
BODY = b"POST /api/scans HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000000\r\n\r\n"
FIRST = (b"", b"GET / HT", HEAD, BODY)
# Half of them come from one address, the others from so many.
_ADDRESSES = 40
# States of connections in /proc/net/tcp.
_ESTABLISHED, _TIME_WAIT, _CLOSE_WAIT, _LISTENS = "01", "06", "08", "0A"


@dataclass(frozen=True)
class Seen:
    """Connections to a port, as Linux counts them. taken: those that the server holds. queued: those that only the
    system knows yet, until the server takes them; their clients believe that they are connected."""

    taken: int
    queued: int


def seen(port: int, pid: int) -> Seen:
    """Of the process that listens at this port of 127.0.0.1."""
    own = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            own.add(str(each.readlink()))
    taken = queued = 0
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port and fields[3] not in (_LISTENS, _TIME_WAIT):
            taken += f"socket:[{fields[9]}]" in own
            queued += fields[9] == "0" and fields[3] in (_ESTABLISHED, _CLOSE_WAIT)
    return Seen(taken, queued)


@dataclass(frozen=True)
class Asked:
    """One request. status: 0 where there was no answer. connect_s: of `seconds`, until the system had connected."""

    status: int
    seconds: float
    connect_s: float


@contextmanager
def asking(port: int, path: str = "/healthz") -> Iterator[list[Asked]]:
    """Asks on and on; the list is full at the end. By a process of its own: threads of this one would wait for those
    that open connections, and their waiting would count as the server's."""
    command = [sys.executable, __file__, str(port), path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    asked: list[Asked] = []
    try:
        yield asked
    finally:
        told, _ = process.communicate()  # by the end of its input it knows
        asked += [Asked(*one) for one in json.loads(told)]


def _ask(port: int, path: str) -> None:
    ended, asked = threading.Event(), []
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        began = connected = time.perf_counter()
        connection, status = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0
        with suppress(OSError, http.client.HTTPException):
            connection.connect()
            connected = time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        asked.append((status, time.perf_counter() - began, connected - began))
        connection.close()
        time.sleep(0.05)
    print(json.dumps(asked))


class Slow:
    """Connections to a port of this machine."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._count = count
        self._open: list[tuple[socket.socket, bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each, _ in self._open:
            each.close()

    def open(self) -> float:
        """Opens them all, as fast as the server lets it; returns the seconds."""
        began = time.monotonic()
        for number in range(self._count):
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            source = "127.0.0.1" if number % 2 else f"127.0.1.{number // 2 % _ADDRESSES + 1}"
            made.bind((source, 0))
            made.settimeout(20)
            first = FIRST[number // 2 % len(FIRST)]
            try:
                made.connect(("127.0.0.1", self._port))
                made.setblocking(False)
                made.send(first) if first else None
            except OSError:
                made.close()
                continue
            self._open.append((made, first))
        return time.monotonic() - began

    def dribble(self, seconds: float) -> None:
        """A byte a second for each that has begun a head or a body."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for each, first in self._open:
                if first in (HEAD, BODY):
                    try:
                        each.send(b"a")
                    except OSError:
                        continue
            time.sleep(1)

    def alive(self) -> int:
        """How many the server has not ended."""
        count = 0
        for each, _ in self._open:
            try:
                while each.recv(4096):
                    pass
            except OSError as error:
                count += error.errno == errno.EAGAIN
        return count


if __name__ == "__main__":
    _ask(int(sys.argv[1]), sys.argv[2])
