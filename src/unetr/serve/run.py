"""Runs the server until a signal ends it: what has begun may end, event streams are closed, and then the queue."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from unetr.errors import InputError
from unetr.queue.service import Service
from unetr.serve.app import create_app
from unetr.serve.options import ServeOptions
from unetr.serve.safety.exposure import check_exposure, is_loopback
from unetr.serve.safety.guard import guarded
from unetr.serve.safety.server import BACKLOG, uvicorn_config
from unetr.serve.web.meters import measured


def whole_app(service: Service, options: ServeOptions) -> ASGIApp:
    """The application with all that stands before it."""
    app = create_app(service, options)
    return measured(guarded(app, options), app.state.serving.meters)


def listen(options: ServeOptions) -> socket.socket:
    """The socket that the server answers at; port 0 is any that is free. Raises InputError."""
    check_exposure(options)
    try:
        family, kind, address = _place(options)
        # By its protocol asyncio knows that it is TCP, and sends small answers at once instead of 40 ms later.
        at = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":  # elsewhere it would let two servers have one port
                at.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            at.bind(address)
            at.listen(BACKLOG)
        except OSError:
            at.close()
            raise
    except OSError as error:
        what = error.strerror or "refused"
        raise InputError(
            f"cannot listen at {options.host}, port {options.port}: {what}; choose another address or port", hint="port"
        ) from error
    return at


def _place(options: ServeOptions) -> tuple[socket.AddressFamily, socket.SocketKind, Any]:
    """Family, kind and address of the socket. Of a name with several, that of IPv4, which every client tries; of
    localhost, one that is this machine's alone, whatever the system's tables say. Raises OSError."""
    found = socket.getaddrinfo(options.host.strip("[]"), options.port, type=socket.SOCK_STREAM)
    if is_loopback(options.host):
        found = [one for one in found if is_loopback(str(one[4][0]))]
    if not found:
        raise OSError(errno.EADDRNOTAVAIL, "this name leads to another machine")
    family, kind, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, kind, address


def serve(service: Service, options: ServeOptions, at: socket.socket, started: Callable[[str], None]) -> None:
    """Answers until a signal ends it, which is raised again then. started: told the address once it answers."""
    server_for(service, options, lambda: started(address_of(options, at))).run(sockets=[at])


def server_for(service: Service, options: ServeOptions, started: Callable[[], None]) -> uvicorn.Server:
    """The server, to be run with a socket. started: called once it answers."""
    config = uvicorn_config(whole_app(service, options), options)
    return _Server(config, started)


def address_of(options: ServeOptions, at: socket.socket) -> str:
    """What a browser on this machine is given."""
    host, port = at.getsockname()[:2]
    host = "localhost" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not listened at
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if options.tls_cert else 'http'}://{name}:{port}/"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(BACKLOG)  # uvicorn has made it as short as what is taken at once
        self._tell()
