"""A real server on a free port of this machine, spoken to over plain sockets, byte by byte."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import uvicorn

from unetr.serve.options import ServeOptions
from unetr.serve.run import listen
from unetr.serve.safety.guard import guarded
from unetr.serve.safety.server import BACKLOG, uvicorn_config


@contextmanager
def listening(app: Any, options: ServeOptions | None = None) -> Iterator[int]:
    """Serves the app in a thread; yields the port."""
    chosen = replace(options or ServeOptions(), port=0)
    server = uvicorn.Server(uvicorn_config(guarded(app, chosen), chosen))
    with listen(chosen) as at:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]}, daemon=True)
        thread.start()
        end = time.monotonic() + 20
        while not server.started and thread.is_alive() and time.monotonic() < end:
            time.sleep(0.01)
        assert server.started
        at.listen(BACKLOG)  # as the server itself does; whoever finds no room there comes again only a second later
        try:
            yield at.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def answer(connection: socket.socket) -> bytes:
    """All that comes until the server closes, or nothing more has come for a second."""
    connection.settimeout(1)
    got = b""
    try:
        while piece := connection.recv(65536):
            got += piece
    except (TimeoutError, ConnectionError):
        pass
    return got


def said(port: int, request: bytes) -> bytes:
    """The whole answer to these bytes."""
    with connected(port) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        return answer(connection)


def status(port: int, request: bytes) -> int:
    """The status of the answer; 0 where the connection was ended without one."""
    got = said(port, request)
    return int(got.split(b" ", 2)[1]) if got else 0


def is_ended(connection: socket.socket, within_s: float) -> bool:
    """Whether the server ends the connection in this time."""
    connection.settimeout(within_s)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True
