"""uvicorn as it is run here: its settings, its TLS, and the limits of its connections."""

from __future__ import annotations

import asyncio
import logging
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from unetr.core.machine.system import allow_open_files
from unetr.errors import InputError
from unetr.serve.options import ServeOptions
from unetr.serve.safety.connections import Gate, SteadyProtocol
from unetr.serve.safety.guard import MOST_HEAD_BYTES

# A radiology department's browsers and programs, of which one address (a proxy's) may have a quarter.
MOST_CONNECTIONS = 1024
_HANDSHAKE_S = 10.0
_KEEP_ALIVE_S = 20
# Downloads that have begun may go on for so long when the server is told to end.
_SHUTDOWN_S = 5
# Connections that the system keeps for this process until it takes them.
BACKLOG = 1024
# Of them, this many are taken before anything is read from any: so few that none loses its place before its first word.
AT_ONCE = 32
# Files that the process needs itself.
OWN_FILES = 256
_LEAST_CONNECTIONS = 32


def uvicorn_config(app: ASGIApp, options: ServeOptions) -> uvicorn.Config:
    """How uvicorn serves an app, which has its guard already. Raises InputError where TLS' files are none, or the
    system allows too few open files."""
    most = _most_connections()
    gate = Gate(most, max(most // 4, _LEAST_CONNECTIONS))
    protocol: Any = partial(SteadyProtocol, gate)
    if options.tls_cert is not None and options.tls_key is not None:
        protocol = partial(_Handshake, gate, _tls(options.tls_cert, options.tls_key))
    return uvicorn.Config(
        app,
        host=options.host.strip("[]"),
        port=options.port,
        http=protocol,
        loop="asyncio",
        ws="none",
        # The gate bounds connections, of which each has one request at a time.
        limit_concurrency=None,
        backlog=AT_ONCE,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        # Whoever sends them could be another client then.
        proxy_headers=False,
        server_header=False,
        # uvicorn's own would tell addresses with their queries.
        access_log=False,
        log_config=None,
        # Its warnings are of what clients send, as often as they like, and of what to install.
        log_level=logging.ERROR,
    )


def _most_connections() -> int:
    """Each connection may have a file open as well: what it uploads or downloads."""
    own = AT_ONCE + OWN_FILES
    allowed = allow_open_files(2 * MOST_CONNECTIONS + own)
    most = min(MOST_CONNECTIONS, (allowed - own) // 2)
    if most < _LEAST_CONNECTIONS:
        least = 2 * _LEAST_CONNECTIONS + own
        raise InputError(f"this process may open {allowed} files; a server needs {least}: raise the limit (ulimit -n)")
    return most


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password, the system's library would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InputError(
            f"{certificate}: is no certificate that {key} is the key of; expected both in PEM form, the key without a "
            "password",
            hint="tls",
        ) from error
    return context


class _Handshake(asyncio.Protocol):
    """A connection until its TLS stands; then a SteadyProtocol has it. It counts from its first packet on."""

    def __init__(self, gate: Gate, context: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        self.address = ""
        self._gate = gate
        self._context = context
        self._inner = SteadyProtocol(gate, *args, **kwargs)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        transport.pause_reading()  # until TLS reads
        self.address = (transport.get_extra_info("peername") or ("",))[0]
        if self._gate.admit(self):
            self._task = asyncio.get_running_loop().create_task(self._shake(transport))
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.leave(self)

    def data_received(self, data: bytes) -> None:
        """What came in one packet with the end of the handshake."""
        self._early += data

    def is_waiting(self, now: float) -> bool:
        return True

    def is_overdue(self, now: float) -> bool:
        return False  # the handshake has a time limit of its own

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _shake(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            secure = await loop.start_tls(
                transport, self, self._context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_S
            )
        except (TimeoutError, OSError, ValueError):  # no TLS, no common version, gone, too slow
            secure = None
        self._gate.leave(self)
        if secure is None:
            transport.abort()
            return
        secure.set_protocol(self._inner)
        self._inner.connection_made(secure)
        if self._early:
            self._inner.data_received(self._early)
